"""Fields of past events: their ids, their tables, and their rows read in one gather."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.models.field_tokens import mean_of_bag
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

# About the events of a batch of 512 with histories of 100: beyond, projecting the table costs more.
_SMALL_TABLE = 65_536


def event_kinds(schema: FeatureSchema) -> list[list[History]]:
    """Histories by kind of event: those of one kind have the same fields."""
    kinds = list(dict.fromkeys(s.fields for s in schema.histories))
    return [[s for s in schema.histories if s.fields == kind] for kind in kinds]


def event_tables(schema: FeatureSchema) -> tuple[str, ...]:
    """Names of the tables of all events' fields."""
    fields = [field for sequence in schema.histories for field in sequence.fields]
    return tuple(dict.fromkeys(schema.table_of(field) for field in fields))


def small_tables(schema: FeatureSchema) -> tuple[str, ...]:
    """Those of `event_tables` that are cheaper to project than the events of a batch."""
    rows = schema.table_rows()
    return tuple(table for table in event_tables(schema) if rows[table] <= _SMALL_TABLE)


def event_ids(schema: FeatureSchema, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of event, ids `(batch, length, values)` by field."""
    kinds = []
    for kind in event_kinds(schema):
        columns = _field_columns(schema, kind[0])
        packed = joined([inputs[s.name] for s in kind])
        kinds.append({field: packed[:, :, part] for field, part in columns.items()})
    return kinds


def embed_events(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: FusedEmbedding
) -> list[Any]:
    """Rows `(batch, length, fields, dim)` for each kind of event; a bag is the mean of its rows."""
    ids, tables, shapes = [], [], []
    kinds = event_kinds(schema)
    if not kinds:
        return []
    for kind in kinds:
        columns = _field_columns(schema, kind[0])
        width = max(c.stop for c in columns.values())
        ids.append(joined([inputs[s.name][:, :, :width] for s in kind]))
        shapes.append((ids[-1].shape[1], width))
        tables.append([schema.table_of(f) for f, c in columns.items() for _ in range(width)[c]])
    if len(ids) == 1:
        rows = [embedding(ids[0], tables=tuple(tables[0]))]
    elif any(length is None for length, _ in shapes):
        rows = [embedding(i, tables=tuple(t)) for i, t in zip(ids, tables, strict=True)]
    else:
        rows = _embed_together(ids, tables, shapes, embedding)
    return [
        _one_row_a_field(_field_columns(schema, kind[0]), of_kind, r)
        for kind, of_kind, r in zip(kinds, ids, rows, strict=True)
    ]


def joined(parts: Sequence[Any], axis: int = 1) -> Any:
    """Tensors side by side; one alone needs no copy."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def _field_columns(schema: FeatureSchema, sequence: History) -> dict[str, slice]:
    columns = schema.history_columns(sequence.name)
    return {field: columns[field] for field in sequence.fields}


def _embed_together(ids: list, tables: list, shapes: list, embedding: FusedEmbedding) -> list[Any]:
    flat = [
        ops.reshape(i, (-1, length * width)) for i, (length, width) in zip(ids, shapes, strict=True)
    ]
    names = [t for ts, (length, _) in zip(tables, shapes, strict=True) for t in ts * length]
    rows, parts, start = embedding(joined(flat), tables=tuple(names)), [], 0
    for length, width in shapes:
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
