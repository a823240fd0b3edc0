"""Packed inputs of a schema, and the rows of the embedding tables that their ids point to."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.schema.schema import FeatureSchema

# About the events of a batch of 512 with histories of 100: beyond, projecting the table costs more.
_SMALL_TABLE = 65_536
# Products of a few numbers of tokens, as cross layers make them, are still finite in float16.
_LARGEST = 8.0


@keras.saving.register_keras_serializable(package="keras_infnet")
class Float16Projection(keras.layers.Dense):
    """`y = clip(W x + b, -8, 8)` in float32, given as float16, in which an `x` of 1e6 is infinite.

    `(batch, dim)` becomes `(batch, units)`. It has the weights of `keras.layers.Dense`.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, autocast=False, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        token = ops.clip(super().call(inputs, training), -_LARGEST, _LARGEST)
        return ops.cast(token, self.compute_dtype)

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"Layer {self.name} stays in float32: `quantize` passes over it.")


class EmbeddedInputs:
    """The first part of every model's graph, and what the members of a model share.

    All tables have rows of width `dim + tasks * task_table_dim`: first what all tasks share, then
    what each task has for itself, so that one gather reads both.

    Args:
        schema: A fitted schema.
        dim: Width of the shared embeddings, and of the tokens made of them.
        stddev: Standard deviation of the embeddings' start.
        task_table_dim: Width of each task's own embeddings; 0: there are none.
        inputs: Inputs by name, from `model_inputs`.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int,
        stddev: float,
        task_table_dim: int,
        inputs: Mapping[str, Any],
    ) -> None:
        self.schema, self.dim, self.stddev, self.inputs = schema, dim, stddev, dict(inputs)
        self._task_table_dim = task_table_dim
        self._columns = slice(0, dim) if task_table_dim else slice(None)
        width = dim + task_table_dim * len(schema.tasks)
        # None if the schema has dense vectors alone.
        embedding, rows = None, schema.table_rows()
        if rows:
            initializer = keras.initializers.RandomNormal(stddev=stddev)
            embedding = FusedEmbedding(rows, width, initializer, name="fused_embedding")
        self._rows = {"embedded_fields": _embed_fields(schema, self.inputs, embedding, width)}
        tables = schema.event_tables()
        if any(rows[table] > _SMALL_TABLE for table in tables):
            for i, of_kind in enumerate(_embed_events(schema, self.inputs, embedding)):
                self._rows[f"embedded_events_{i}"] = of_kind
        elif embedding is not None:
            ids = next(iter(self.inputs.values()))
            for table in tables:
                self._rows[f"table_{table}"] = embedding(ids, tables=(table,), whole=True)

    @property
    def fields(self) -> Any:
        """Field tokens `(batch, fields, dim)` in the order of `schema.field_names`."""
        return self._rows["embedded_fields"][:, :, self._columns]

    @property
    def events(self) -> list[Any]:
        """What `HistoryTokenEmbedding` reads, for each kind of event: rows, or ids and tables."""
        rows = [x for name, x in self._rows.items() if name.startswith("embedded_events")]
        if rows:
            return [_side_by_side(x[:, :, :, self._columns]) for x in rows]
        # A slice of all columns would hide from an export that this is a table.
        of_all = self._columns == slice(None)
        tables = {
            name.removeprefix("table_"): table if of_all else table[:, self._columns]
            for name, table in self._rows.items()
            if name.startswith("table_")
        }
        return [
            {"ids": list(ids.values()), "tables": [tables[self.schema.table_of(f)] for f in ids]}
            for ids in _event_ids(self.schema, self.inputs)
        ]

    @property
    def tensors(self) -> dict[str, Any]:
        """All inputs and rows: what a network on these inputs may read."""
        return {**self.inputs, **self._rows}

    def own(self, task: int) -> "EmbeddedInputs":
        """The same inputs in the tables of one task alone, `task_table_dim` wide."""
        view, start = copy.copy(self), self.dim + task * self._task_table_dim
        view.dim, view._task_table_dim = self._task_table_dim, 0
        view._columns = slice(start, start + self._task_table_dim)
        return view

    def placeholders(self) -> "EmbeddedInputs":
        """Inputs and rows as the inputs of a graph of its own."""
        view = copy.copy(self)
        view.inputs, view._rows = placeholders(self.inputs), placeholders(self._rows)
        return view


def model_inputs(schema: FeatureSchema, any_length: bool) -> dict[str, Any]:
    """Inputs of a model by name.

    Args:
        schema: A fitted schema.
        any_length: Whether histories may come shorter, without their oldest positions.

    Returns:
        Dict of `keras.Input`.
    """
    shapes: dict[str, Any] = schema.packed_inputs()
    of_rows = [f"{h.name}_{q.key}" for h in schema.histories for q in h.of_row]
    histories = [*(h.name for h in schema.histories), *of_rows]
    for name in histories if any_length else ():
        shape, dtype = shapes[name]
        shapes[name] = (None, *shape[1:]), dtype
    return {name: keras.Input(shape, dtype=d, name=name) for name, (shape, d) in shapes.items()}


def placeholders(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of a graph of its own, shaped like these tensors."""
    return {
        name: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for name, tensor in tensors.items()
    }


def joined(parts: Sequence[Any], axis: int = 1) -> Any:
    """Tensors side by side; one alone needs no copy."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def mean_of_bag(rows: Any, weights: Any) -> Any:
    """Weighted mean over axis -2 of `rows (..., values, dim)`; zeros where all weights are 0."""
    total = ops.sum(weights, axis=-1, keepdims=True)
    # Normalised before the sum, which then needs no division of `dim` numbers.
    weights = weights / ops.where(ops.equal(total, 0.0), 1.0, total)
    return ops.sum(rows * ops.cast(ops.expand_dims(weights, -1), rows.dtype), axis=-2)


def _embed_fields(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding | None, dim: int
) -> Any:
    """Tokens `(batch, fields, dim)` in the order of `schema.field_names`.

    A bag is the weighted mean of its rows, zeros if it is empty; a dense vector is projected.
    """
    tokens = []
    if embedding is not None:
        tokens.append(_embed_categorical(schema, inputs, embedding))
    for name, columns in schema.packed_columns("dense").items():
        is_narrow = keras.config.dtype_policy().compute_dtype == "float16"
        kind = Float16Projection if is_narrow else keras.layers.Dense
        project = kind(dim, name=f"{name}_projection")
        tokens.append(ops.expand_dims(project(inputs["dense"][:, columns]), 1))
    return joined(tokens)


def _embed_categorical(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> Any:
    """Tokens of one-valued features and bags, all read in one gather."""
    columns = list(schema.one_valued)
    for bag in schema.bags:
        columns += [bag] * bag.width
    rows = embedding(
        joined([inputs[name] for name in ("categorical", "bags") if name in inputs]),
        tables=tuple(schema.table_of(feature.name) for feature in columns),
    )
    first = start = len(schema.one_valued)
    tokens = [rows[:, :start]] if start else []
    for bag in schema.bags:
        stop = start + bag.width
        in_input = slice(start - first, stop - first)
        there = ops.not_equal(inputs["bags"][:, in_input], 0)
        weights = inputs["bag_weights"][:, in_input] * ops.cast(there, "float32")
        tokens.append(ops.expand_dims(mean_of_bag(rows[:, start:stop], weights), 1))
        start = stop
    return joined(tokens)


def _event_ids(schema: FeatureSchema, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of event, ids `(batch, length, values)` by field."""
    kinds = []
    for kind in schema.event_kinds():
        columns = schema.field_columns(kind[0].name).items()
        # Fields alone: behind them each history has quantities of its own.
        kinds.append({f: joined([inputs[h.name][:, :, part] for h in kind]) for f, part in columns})
    return kinds


def _embed_events(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> list[Any]:
    """Rows `(batch, length, fields, dim)` for each kind of event; a bag is the mean of its rows."""
    kinds = []
    for kind in schema.event_kinds():
        columns = schema.field_columns(kind[0].name)
        width = max(c.stop for c in columns.values())
        ids = joined([inputs[h.name][:, :, :width] for h in kind])
        tables = [schema.table_of(f) for f, c in columns.items() for _ in range(width)[c]]
        rows = embedding(ids, tables=tuple(tables))
        kinds.append(_one_row_a_field(columns, ids, rows))
    return kinds


def _one_row_a_field(columns: Mapping[str, slice], ids: Any, rows: Any) -> Any:
    if len(columns) == rows.shape[2]:
        return rows
    parts = []
    for of_field in columns.values():
        part = rows[:, :, of_field]
        if part.shape[2] > 1:
            there = ops.cast(ops.not_equal(ids[:, :, of_field], 0), "float32")
            part = ops.expand_dims(mean_of_bag(part, there), 2)
        parts.append(part)
    return ops.concatenate(parts, axis=2)


def _side_by_side(rows: Any) -> Any:
    """Fields of events `(batch, length, fields, dim)` as `(batch, length, fields * dim)`."""
    shape = (rows.shape[1] or -1, rows.shape[2] * rows.shape[3])
    return keras.layers.Reshape(shape)(rows)
