"""Tokens of past events, and of the candidate in the same space."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet.layers.bucket_embedding import BucketEmbedding
from keras_infnet.layers.configured_layer import ConfiguredLayer, joined, table_initializer


@keras.saving.register_keras_serializable(package="keras_infnet")
class HistoryTokenEmbedding(ConfiguredLayer):
    """Sequence tokens from the embedded fields of events and what the user did there.

    `S_l = W_tok [E(video); E(author); ...] + A[action] + R[ratio] + D[age] + P[position]`, and for
    a candidate the first term alone. Histories whose events have other fields have a `W_tok` of
    their own; tokens of all histories lie side by side along time, and a candidate is the sum of
    its projections. Padded positions are not cleared: what reads the tokens needs the mask.

    Args:
        dim: Token width.
        num_buckets: Number of buckets of each quantity that is added, by name, such as
            `{"action": 12, "ratio": 14, "age": 23, "position": 100}`. Defaults to `None`: none is
            added.
        use_projection: Whether there is a `W_tok`; if not, an event has one field of width `dim`.
            Defaults to `True`.
        initializer: Initializer of `A`, `R`, `D` and `P`. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Where the tables are small, events can be given by their ids: in training the tables are then
    projected before the look-up, `E W_tok` row by row, which is the same but for rounding and costs
    a product with the tables instead of one with every event of the batch.

    Call arguments:
        events: Float tensor `(batch, length, fields * dim)`, or a list of them, one for each kind
            of event. Instead of a tensor a kind may be a dict of lists with an item for each field:
            `"ids"`, `(batch, length, values)`, into `"tables"`, `(rows, dim)`; of several values it
            is the mean of those that are not 0; and `"added"`, by place of the field as a text,
            `(batch, length, dim)` that is added to its rows. With `(batch, fields * dim)` the
            output is the candidate's.
        buckets: Dict of integer tensors `(batch, total length)`, one for each quantity, as
            `BucketEmbedding` takes them; only read for events. Defaults to `None`.

    Returns:
        Float tensor `(batch, total length, dim)`, or `(batch, dim)` for a candidate.

    Raises:
        ValueError: Without projection, an event is not as wide as a token.

    Example:
        >>> tokens = keras_infnet.layers.HistoryTokenEmbedding(dim=8, num_buckets={"age": 23})
        >>> events, ages = keras.ops.ones((2, 5, 24)), keras.ops.ones((2, 5), "int32")
        >>> tuple(tokens(events, {"age": ages}).shape)
        (2, 5, 8)
        >>> tuple(tokens(keras.ops.ones((2, 24))).shape)
        (2, 8)
    """

    def __init__(
        self,
        dim: int,
        num_buckets: Mapping[str, int] | None = None,
        use_projection: bool = True,
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.num_buckets = dict(num_buckets or {})
        self.use_projection = use_projection
        self.initializer = table_initializer(initializer)
        self.context = None
        if self.num_buckets:
            self.context = BucketEmbedding(
                self.num_buckets, dim, self.initializer, dtype=self.dtype_policy, name="context"
            )

    def build(self, events_shape: Any, buckets_shape: Any = None) -> None:
        widths = [_shape_of_rows(shape)[-1] for shape in _as_list(events_shape)]
        self.projections = []
        if self.use_projection:
            self.projections = [
                _Projection(
                    self.dim, use_bias=False, dtype=self.dtype_policy, name=f"projection_{i}"
                )
                for i in range(len(widths))
            ]
            for projection, width in zip(self.projections, widths, strict=True):
                projection.build((None, width))
        elif set(widths) != {self.dim}:
            raise ValueError(
                f"Layer `{self.name}`: events of width {widths}; expected {self.dim}, the token's. "
                "Set use_projection=True for events of several fields."
            )
        if self.context is not None:
            self.context.build()

    def call(
        self,
        events: Any,
        buckets: Mapping[str, Any] | None = None,
        training: bool | None = None,
    ) -> Any:
        kinds = list(events) if isinstance(events, (list, tuple)) else [events]
        projections = self.projections or [None] * len(kinds)
        events = [
            _looked_up(**kind, projection=dense, training=training)
            if isinstance(kind, Mapping)
            else (kind if dense is None else dense(kind))
            for dense, kind in zip(projections, kinds, strict=True)
        ]
        if len(events[0].shape) == 2:
            return sum(events[1:], events[0])
        tokens = ops.cast(joined(events), self.compute_dtype)
        return tokens if self.context is None else tokens + self.context(buckets or {})

    def compute_output_spec(
        self, events: Any, buckets: Any = None, training: bool | None = None
    ) -> keras.KerasTensor:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, events)
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype=self.compute_dtype)

    def compute_output_shape(self, events_shape: Any, buckets_shape: Any = None) -> tuple:
        kinds = [_shape_of_rows(shape) for shape in _as_list(events_shape)]
        if len(kinds[0]) == 2:
            return (kinds[0][0], self.dim)
        lengths = [shape[1] for shape in kinds]
        return (kinds[0][0], None if None in lengths else sum(lengths), self.dim)


class _Projection(keras.layers.Dense):
    """Read by its kernel: a class of its own, which `quantize` passes over and says so."""


def _looked_up(
    ids: Sequence[Any],
    tables: Sequence[Any],
    projection: Any,
    training: bool | None,
    added: Mapping[str, Any] | None = None,
) -> Any:
    """Projected events, `(batch, length, dim)`, field by field."""
    tokens, start = 0.0, 0
    for place, (of_field, table) in enumerate(zip(ids, tables, strict=True)):
        kernel, more = None, (added or {}).get(str(place))
        if projection is not None:
            kernel = ops.convert_to_tensor(projection.kernel)[start : start + table.shape[1]]
            start += table.shape[1]
        if kernel is not None and training:
            more = None if more is None else ops.matmul(more, ops.cast(kernel, more.dtype))
            table, kernel = ops.matmul(table, ops.cast(kernel, table.dtype)), None
        # Duplicate ids are summed in the gradient, so in float32 whatever the policy.
        rows = _mean_of_rows(ops.cast(table, "float32"), of_field)
        rows = rows if more is None else rows + ops.cast(more, "float32")
        tokens = tokens + (
            rows if kernel is None else ops.matmul(rows, ops.cast(kernel, "float32"))
        )
    return tokens


def _mean_of_rows(table: Any, ids: Any) -> Any:
    """Row of a value, or mean of the rows of several that are not 0."""
    values = ids.shape[-1]
    if values == 1:
        return embedding_lookup(table, ids[..., 0])
    there = ops.cast(ops.not_equal(ids, 0), table.dtype)
    weights = there / ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0)
    # One look-up a value: the compiled sum then writes no (batch, length, values, dim).
    rows = [embedding_lookup(table, ids[..., i]) * weights[..., i : i + 1] for i in range(values)]
    return sum(rows[1:], rows[0])


def _as_list(shapes: Any) -> list:
    """One kind of event, or a list of kinds, as a list."""
    if isinstance(shapes, Mapping) or not isinstance(shapes[0], (list, tuple, Mapping)):
        return [shapes]
    return list(shapes)


def _shape_of_rows(shape: Any) -> tuple:
    """Shape of a kind's rows, `(..., fields * dim)`, also where ids and tables are given."""
    if not isinstance(shape, Mapping):
        return tuple(shape)
    return (*shape["ids"][0][:2], sum(table[1] for table in shape["tables"]))
