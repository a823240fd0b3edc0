"""Packed inputs of a schema, and the rows of the embedding tables that their ids point to."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.layers.fused_embedding import FusedEmbedding

# About the events of a batch of 512 with histories of 100: beyond, projecting the table costs more.
_SMALL_TABLE = 65_536


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
        embedding = _tables(schema, width, stddev)
        self._rows = {"embedded_fields": _embed_fields(schema, self.inputs, embedding, width)}
        small = _small_tables(schema)
        if len(small) < len(_event_tables(schema)):
            for i, rows in enumerate(_embed_events(schema, self.inputs, embedding)):
                self._rows[f"embedded_events_{i}"] = rows
        elif small:
            ids = next(iter(self.inputs.values()))
            for table in small:
                self._rows[f"table_{table}"] = embedding(ids, tables=(table,), whole=True)

    @property
    def fields(self) -> Any:
        """Field tokens `(batch, fields, dim)` in the order of `schema.field_names`."""
        return self._rows["embedded_fields"][:, :, self._columns]

    @property
    def events(self) -> list[Any]:
        """What `HistoryTokenEmbedding` reads, for each kind of event: rows, or ids and tables."""
        if any(name.startswith("embedded_events") for name in self._rows):
            return self._event_rows()
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

    def _event_rows(self) -> list[Any]:
        """Fields of events `(batch, length, fields * dim)`, for each kind of event."""
        parts = []
        for name, rows in self._rows.items():
            if name.startswith("embedded_events"):
                rows = rows[:, :, :, self._columns]
                width = rows.shape[2] * self.dim
                parts.append(keras.layers.Reshape((rows.shape[1] or -1, width))(rows))
        return parts


def model_inputs(schema: FeatureSchema, any_length: bool) -> dict[str, Any]:
    """Inputs of a model by name.

    Args:
        schema: A fitted schema.
        any_length: Whether histories may come shorter, without their oldest positions.

    Returns:
        Dict of `keras.Input`.
    """
    shapes = schema.packed_inputs()
    histories = [n for s in schema.histories for n in (s.name, f"{s.name}_age") if n in shapes]
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


def event_kinds(schema: FeatureSchema) -> list[list[History]]:
    """Histories by kind of event: those of one kind have the same fields."""
    kinds = list(dict.fromkeys(s.fields for s in schema.histories))
    return [[s for s in schema.histories if s.fields == kind] for kind in kinds]


def joined(parts: Sequence[Any], axis: int = 1) -> Any:
    """Tensors side by side; one alone needs no copy."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def mean_of_bag(rows: Any, weights: Any) -> Any:
    """Weighted mean over axis -2 of `rows (..., values, dim)`; zeros where all weights are 0."""
    total = ops.sum(weights, axis=-1, keepdims=True)
    # Normalised before the sum, which then needs no division of `dim` numbers.
    weights = weights / ops.where(ops.equal(total, 0.0), 1.0, total)
    return ops.sum(rows * ops.cast(ops.expand_dims(weights, -1), rows.dtype), axis=-2)


def _tables(schema: FeatureSchema, dim: int, stddev: float) -> FusedEmbedding | None:
    """The tables of all features; None if the schema has dense vectors alone."""
    rows = schema.table_rows()
    if not rows:
        return None
    initializer = keras.initializers.RandomNormal(stddev=stddev)
    return FusedEmbedding(rows, dim, initializer, name="fused_embedding")


def _embed_fields(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding | None, dim: int
) -> Any:
    """Tokens `(batch, fields, dim)` in the order of `schema.field_names`.

    A bag is the weighted mean of its rows, zeros if it is empty; a dense vector is projected.
    """
    tokens = []
    if embedding is not None:
        tokens.append(_embed_categorical(schema, inputs, embedding))
    start = 0
    for feature in schema.dense:
        vector = inputs["dense"][:, start : start + feature.dim]
        project = keras.layers.Dense(dim, name=f"{feature.name}_projection")
        tokens.append(ops.expand_dims(project(vector), 1))
        start += feature.dim
    return joined(tokens)


def _embed_categorical(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> Any:
    """Tokens of one-valued features and bags, all read in one gather."""
    columns = list(schema.one_valued)
    for bag in schema.bags:
        columns += [bag] * bag.max_values
    rows = embedding(
        joined([inputs[name] for name in ("categorical", "bags") if name in inputs]),
        tables=tuple(schema.table_of(feature.name) for feature in columns),
    )
    first = start = len(schema.one_valued)
    tokens = [rows[:, :start]] if start else []
    for bag in schema.bags:
        stop = start + bag.max_values
        in_input = slice(start - first, stop - first)
        there = ops.not_equal(inputs["bags"][:, in_input], 0)
        weights = inputs["bag_weights"][:, in_input] * ops.cast(there, "float32")
        tokens.append(ops.expand_dims(mean_of_bag(rows[:, start:stop], weights), 1))
        start = stop
    return joined(tokens)


def _event_tables(schema: FeatureSchema) -> tuple[str, ...]:
    """Names of the tables of all events' fields."""
    fields = [field for sequence in schema.histories for field in sequence.fields]
    return tuple(dict.fromkeys(schema.table_of(field) for field in fields))


def _small_tables(schema: FeatureSchema) -> tuple[str, ...]:
    """Those of `_event_tables` that are cheaper to project than the events of a batch."""
    rows = schema.table_rows()
    return tuple(table for table in _event_tables(schema) if rows[table] <= _SMALL_TABLE)


def _event_ids(schema: FeatureSchema, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of event, ids `(batch, length, values)` by field."""
    kinds = []
    for kind in event_kinds(schema):
        columns = _field_columns(schema, kind[0])
        packed = joined([inputs[s.name] for s in kind])
        kinds.append({field: packed[:, :, part] for field, part in columns.items()})
    return kinds


def _embed_events(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> list[Any]:
    """Rows `(batch, length, fields, dim)` for each kind of event; a bag is the mean of its rows."""
    ids, tables = [], []
    kinds = event_kinds(schema)
    for kind in kinds:
        columns = _field_columns(schema, kind[0])
        width = max(c.stop for c in columns.values())
        ids.append(joined([inputs[s.name][:, :, :width] for s in kind]))
        tables.append([schema.table_of(f) for f, c in columns.items() for _ in range(width)[c]])
    if len(ids) == 1 or any(of_kind.shape[1] is None for of_kind in ids):
        rows = [embedding(i, tables=tuple(t)) for i, t in zip(ids, tables, strict=True)]
    else:
        rows = _embed_together(ids, tables, embedding)
    return [
        _one_row_a_field(_field_columns(schema, kind[0]), of_kind, r)
        for kind, of_kind, r in zip(kinds, ids, rows, strict=True)
    ]


def _field_columns(schema: FeatureSchema, sequence: History) -> dict[str, slice]:
    columns = schema.history_columns(sequence.name)
    return {field: columns[field] for field in sequence.fields}


def _embed_together(
    ids: Sequence[Any], tables: Sequence[list[str]], embedding: FusedEmbedding
) -> list[Any]:
    """Rows of all kinds of events, of known lengths, in one gather."""
    flat = [ops.reshape(i, (-1, i.shape[1] * i.shape[2])) for i in ids]
    names = [t for ts, i in zip(tables, ids, strict=True) for t in ts * i.shape[1]]
    rows, parts, start = embedding(joined(flat), tables=tuple(names)), [], 0
    for of_kind in ids:
        _, length, width = of_kind.shape
        part = rows[:, start : start + length * width]
        parts.append(ops.reshape(part, (-1, length, width, embedding.dim)))
        start += length * width
    return parts


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
