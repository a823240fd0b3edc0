"""Tokens of past events, and of the candidate in the same space."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.bucket_embedding import BucketEmbedding


@keras.saving.register_keras_serializable(package="keras_infnet")
class HistoryTokenEmbedding(keras.layers.Layer):
    """Sequence tokens from the embedded fields of events and what the user did there.

    `S_l = W_tok [E(video); E(author); ...] + A[action] + R[ratio] + D[age] + P[position]`, and for
    a candidate the first term alone. Histories whose events have other fields have a `W_tok` of
    their own; tokens of all histories lie side by side along time, and a candidate is the sum of
    its projections. Padded positions are not cleared: what reads the tokens needs the mask.

    Args:
        dim: Token width.
        num_buckets: Number of buckets of each quantity that is added, by name, such as
            `{"action": 12, "ratio": 14, "age": 23}`. Defaults to `None`: none is added.
        lengths: Lengths of the histories, whose positions are added. Defaults to `()`: positions
            are not added.
        use_projection: Whether there is a `W_tok`; if not, an event has one field of width `dim`.
            Defaults to `True`.
        initializer: Initializer of `A`, `R`, `D` and `P`. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        events: Float tensor `(batch, length, fields * dim)`, or a list of them, one for each kind
            of event. With `(batch, fields * dim)` the output is the candidate's.
        buckets: Dict of integer tensors `(batch, total length)`, one for each quantity; only read
            for events. Defaults to `None`.

    Returns:
        Float tensor `(batch, total length, dim)`, or `(batch, dim)` for a candidate.

    Raises:
        ValueError: Without projection, an event is not as wide as a token.

    Example:
        >>> tokens = keras_infnet.HistoryTokenEmbedding(dim=8, num_buckets={"age": 23})
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
        lengths: Sequence[int] = (),
        use_projection: bool = True,
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.num_buckets = dict(num_buckets or {})
        self.lengths = tuple(lengths)
        self.use_projection = use_projection
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.01)
        )
        self.context = None
        if self.num_buckets or self.lengths:
            self.context = BucketEmbedding(
                self.num_buckets,
                dim,
                self.lengths,
                self.initializer,
                dtype=self.dtype_policy,
                name="context",
            )

    def build(self, events_shape: Any, buckets_shape: Any = None) -> None:
        widths = [shape[-1] for shape in _as_list(events_shape)]
        self.projections = []
        if self.use_projection:
            for i, width in enumerate(widths):
                dense = keras.layers.Dense(
                    self.dim, use_bias=False, dtype=self.dtype_policy, name=f"projection_{i}"
                )
                dense.build((None, width))
                self.projections.append(dense)
        elif set(widths) != {self.dim}:
            raise ValueError(
                f"Layer `{self.name}`: events of width {widths}; expected {self.dim}, the token's. "
                "Set use_projection=True for events of several fields."
            )
        if self.context is not None:
            self.context.build()

    def call(self, events: Any, buckets: Mapping[str, Any] | None = None) -> Any:
        events = list(events) if isinstance(events, (list, tuple)) else [events]
        if self.use_projection:
            events = [dense(e) for dense, e in zip(self.projections, events, strict=True)]
        if len(events[0].shape) == 2:
            return sum(events[1:], events[0])
        tokens = events[0] if len(events) == 1 else ops.concatenate(events, axis=1)
        return tokens if self.context is None else tokens + self.context(buckets or {})

    def compute_output_shape(self, events_shape: Any, buckets_shape: Any = None) -> tuple:
        shapes = _as_list(events_shape)
        if len(shapes[0]) == 2:
            return (shapes[0][0], self.dim)
        return (shapes[0][0], sum(shape[1] for shape in shapes), self.dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_buckets": dict(self.num_buckets),
            "lengths": list(self.lengths),
            "use_projection": self.use_projection,
            "initializer": keras.initializers.serialize(self.initializer),
        }


def _as_list(shapes: Any) -> list:
    """One shape, or a list of shapes, as a list."""
    return list(shapes) if isinstance(shapes[0], (list, tuple)) else [shapes]
