"""Packed inputs of a schema, and the rows of the embedding tables that their ids point to."""

import copy
from collections.abc import Mapping
from typing import Any

import keras

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.models.event_rows import embed_events, event_ids, event_tables, small_tables
from keras_infnet.models.field_tokens import embed_fields
from keras_infnet.schema.schema import FeatureSchema


class EmbeddedInputs:
    """The first part of every model's graph, and what the members of a model share.

    All tables have rows of width `dim + tasks * own_dim`: first what all tasks share, then what
    each task has for itself, so that one gather reads both.

    Args:
        schema: A fitted schema.
        dim: Width of the shared embeddings, and of the tokens made of them.
        stddev: Standard deviation of the embeddings' start.
        own_dim: Width of each task's own embeddings; 0: there are none.
        event_rows: Whether `event_rows` is read; tokens of events need it only for large tables.
        dtype: Dtype policy of the layers.
        any_length: Whether histories may come shorter, without their oldest positions.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int,
        stddev: float = 0.01,
        own_dim: int = 0,
        event_rows: bool = False,
        dtype: Any = None,
        any_length: bool = True,
    ) -> None:
        schema.require_fitted()
        self.schema, self.dim, self.stddev, self.dtype = schema, dim, stddev, dtype
        self.own_dim = own_dim
        self.inputs = _inputs(schema, any_length)
        width = dim + own_dim * len(schema.tasks)
        embedding = _tables(schema, width, stddev, dtype)
        self._columns = slice(0, dim) if own_dim else slice(None)
        self._rows = {"embedded_fields": embed_fields(schema, self.inputs, embedding, width, dtype)}
        small = small_tables(schema)
        if event_rows or len(small) < len(event_tables(schema)):
            for i, rows in enumerate(embed_events(schema, self.inputs, embedding)):
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
            return self.event_rows
        # A slice of all columns would hide from an export that this is a table.
        of_all = self._columns == slice(None)
        tables = {
            name.removeprefix("table_"): table if of_all else table[:, self._columns]
            for name, table in self._rows.items()
            if name.startswith("table_")
        }
        return [
            {"ids": list(ids.values()), "tables": [tables[self.schema.table_of(f)] for f in ids]}
            for ids in event_ids(self.schema, self.inputs)
        ]

    @property
    def event_rows(self) -> list[Any]:
        """Fields of events `(batch, length, fields * dim)`, for each kind of event."""
        parts = []
        for name, rows in self._rows.items():
            if name.startswith("embedded_events"):
                rows = rows[:, :, :, self._columns]
                width = rows.shape[2] * self.dim
                parts.append(keras.layers.Reshape((rows.shape[1] or -1, width))(rows))
        return parts

    @property
    def tensors(self) -> dict[str, Any]:
        """All inputs and rows: what a network on these inputs may read."""
        return {**self.inputs, **self._rows}

    def own(self, task: int) -> "EmbeddedInputs":
        """The same inputs in the tables of one task alone, `own_dim` wide."""
        start = self.dim + task * self.own_dim
        view = copy.copy(self)
        view.dim, view.own_dim = self.own_dim, 0
        view._columns = slice(start, start + self.own_dim)
        return view

    def placeholders(self) -> "EmbeddedInputs":
        """Inputs and rows as the inputs of a graph of its own."""
        view = copy.copy(self)
        view.inputs, view._rows = _placeholders(self.inputs), _placeholders(self._rows)
        return view


def _inputs(schema: FeatureSchema, any_length: bool) -> dict[str, Any]:
    shapes = schema.packed_inputs()
    histories = [n for s in schema.histories for n in (s.name, f"{s.name}_age") if n in shapes]
    for name in histories if any_length else ():
        shape, dtype = shapes[name]
        shapes[name] = (None, *shape[1:]), dtype
    return {name: keras.Input(shape, dtype=d, name=name) for name, (shape, d) in shapes.items()}


def _tables(schema: FeatureSchema, dim: int, stddev: float, dtype: Any) -> FusedEmbedding | None:
    """The tables of all features; None if the schema has dense vectors alone."""
    rows = schema.table_rows()
    if not rows:
        return None
    initializer = keras.initializers.RandomNormal(stddev=stddev)
    return FusedEmbedding(rows, dim, initializer, dtype=dtype, name="fused_embedding")


def _placeholders(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for name, tensor in tensors.items()
    }
