"""Packed inputs of a schema, and the rows of the embedding tables that their ids point to."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.adaptive_embedding import AdaptiveEmbedding
from keras_infnet.layers.configured_layer import joined
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.layers.number_embedding import NumberEmbedding
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.history import History
from keras_infnet.schema.number_forms import STEPS, ZERO
from keras_infnet.schema.schema import FeatureSchema

Embedding = FusedEmbedding | AdaptiveEmbedding

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
            embedding = _embedding(schema, width, initializer)
        numbers = _number_embedding(schema, width, stddev)
        self._rows = {
            "embedded_fields": _embed_fields(schema, self.inputs, embedding, numbers, width)
        }
        for i, kind in enumerate(schema.event_kinds()):
            if fields := schema.numeric_fields(kind[0]):
                found = joined([numbers_of_events(schema, h, self.inputs) for h in kind])
                embedded = numbers(found, tables=_tables_of(schema, fields))
                self._rows[f"event_numbers_{i}"] = embedded
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
        numbers = [self._numbers_of_kind(i) for i in range(len(self.schema.event_kinds()))]
        rows = [x for name, x in self._rows.items() if name.startswith("embedded_events")]
        if rows:
            rows = [x[:, :, :, self._columns] for x in rows]
            return [_side_by_side(_with(x, n, 2)) for x, n in zip(rows, numbers, strict=True)]
        # A slice of all columns would hide from an export that this is a table.
        of_all = self._columns == slice(None)
        tables = {
            name.removeprefix("table_"): table if of_all else table[:, self._columns]
            for name, table in self._rows.items()
            if name.startswith("table_")
        }
        kinds = []
        for ids, added in zip(_event_ids(self.schema, self.inputs), numbers, strict=True):
            of_fields = [tables[self.schema.table_of(f)] for f in ids]
            kind: dict[str, Any] = {"ids": list(ids.values()), "tables": of_fields}
            if added:
                kind["added"] = {str(i): vectors for i, vectors in added.items()}
            kinds.append(kind)
        return kinds

    def _numbers_of_kind(self, kind: int) -> dict[int, Any]:
        """Vectors `(batch, length, dim)` of the numeric fields of a kind of event, by place."""
        history = self.schema.event_kinds()[kind][0]
        fields = self.schema.numeric_fields(history)
        vectors: Any = self._rows.get(f"event_numbers_{kind}")
        return {
            history.fields.index(field.name): vectors[:, :, i, self._columns]
            for i, field in enumerate(fields)
        }

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


def mean_of_bag(rows: Any, weights: Any) -> Any:
    """Weighted mean over axis -2 of `rows (..., values, dim)`; zeros where all weights are 0."""
    total = ops.sum(weights, axis=-1, keepdims=True)
    # Normalised before the sum, which then needs no division of `dim` numbers.
    weights = weights / ops.where(ops.equal(total, 0.0), 1.0, total)
    return ops.sum(rows * ops.cast(ops.expand_dims(weights, -1), rows.dtype), axis=-2)


def numbers_of_events(schema: FeatureSchema, history: History, inputs: Mapping[str, Any]) -> Any:
    """What the numeric fields of a history's events are, float32 `(batch, length, columns)`.

    It is what `numbers_as_ids` packed, 0 where unknown.
    """
    columns = schema.history_columns(history.name)
    parts = [columns[f"{field.name}#numbers"] for field in schema.numeric_fields(history)]
    return as_numbers(inputs[history.name][:, :, parts[0].start : parts[-1].stop])


def as_numbers(ids: Any) -> Any:
    """The numbers that `numbers_as_ids` made ids of, float32; 0 where unknown."""
    numbers = ops.cast(ids - ZERO, "float32") / STEPS
    return ops.where(ops.equal(ids, 0), 0.0, numbers)


def _embedding(schema: FeatureSchema, width: int, initializer: Any) -> Embedding:
    """The layer of all tables."""
    if schema.dims is None:
        return FusedEmbedding(schema.table_rows(), width, initializer, name="fused_embedding")
    parts = schema.table_parts(width)
    return AdaptiveEmbedding(parts, width, initializer, name="adaptive_embedding")


def _number_embedding(schema: FeatureSchema, width: int, stddev: float) -> Any:
    """The weights of all numbers; None where every feature is ids or a vector.

    They start as small as rows of tables: larger, they drown ids that one epoch has to learn.
    """
    owners = [f for f in schema.numeric if f.shared_table is None]
    if not owners:
        return None
    initializer = keras.initializers.RandomNormal(stddev=stddev)
    bins = {feature.name: feature.number_bins for feature in owners}
    return NumberEmbedding(bins, width, initializer, name="number_embedding")


def _tables_of(schema: FeatureSchema, features: Sequence[Feature]) -> tuple[str, ...]:
    return tuple(schema.table_of(feature.name) for feature in features)


def _with(rows: Any, added: Mapping[int, Any], axis: int) -> Any:
    """Rows, some of them along an axis with what is added."""
    if not added:
        return rows
    parts = [ops.take(rows, i, axis=axis) for i in range(rows.shape[axis])]
    return ops.stack([x + added[i] if i in added else x for i, x in enumerate(parts)], axis=axis)


def _embed_fields(
    schema: FeatureSchema,
    inputs: Mapping[str, Any],
    embedding: Embedding | None,
    numbers: NumberEmbedding | None,
    dim: int,
) -> Any:
    """Tokens `(batch, fields, dim)` in the order of `schema.field_names`.

    A bag is the weighted mean of its rows, zeros if it is empty; a dense vector is projected; to
    the row of a number's bucket its `NumberEmbedding` is added, and some share a token, their sum.
    """
    tokens = []
    if embedding is not None:
        tokens.append(_embed_categorical(schema, inputs, embedding, numbers))
    for name, columns in schema.packed_columns("dense").items():
        is_narrow = keras.config.dtype_policy().compute_dtype == "float16"
        kind = Float16Projection if is_narrow else keras.layers.Dense
        project = kind(dim, name=f"{name}_projection")
        tokens.append(ops.expand_dims(project(inputs["dense"][:, columns]), 1))
    return joined(tokens)


def _embed_categorical(
    schema: FeatureSchema,
    inputs: Mapping[str, Any],
    embedding: Embedding,
    numbers: NumberEmbedding | None,
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
    tokens = _one_valued_tokens(schema, inputs, rows[:, :start], numbers) if start else []
    for bag in schema.bags:
        stop = start + bag.width
        in_input = slice(start - first, stop - first)
        there = ops.not_equal(inputs["bags"][:, in_input], 0)
        weights = inputs["bag_weights"][:, in_input] * ops.cast(there, "float32")
        tokens.append(ops.expand_dims(mean_of_bag(rows[:, start:stop], weights), 1))
        start = stop
    return joined(tokens)


def _one_valued_tokens(
    schema: FeatureSchema, inputs: Mapping[str, Any], rows: Any, numbers: NumberEmbedding | None
) -> list[Any]:
    """Tokens `(batch, fields, dim)`: rows, with numbers, and the sums of those that share one."""
    if numbers is not None:
        vectors = numbers(inputs["numbers"], tables=_tables_of(schema, schema.numeric))
        parts, start, first = [], 0, 0
        for is_numeric, run in itertools.groupby(schema.one_valued, lambda f: bool(f.number_bins)):
            stop = start + len(list(run))
            part = rows[:, start:stop]
            if is_numeric:
                part, first = part + vectors[:, first : first + stop - start], first + stop - start
            parts.append(part)
            start = stop
        rows = joined(parts)
    shared = [f.token_name for f in schema.one_valued if f.token_name != f.name]
    if not shared:
        return [rows]
    start = rows.shape[1] - len(shared)
    tokens = [rows[:, :start]] if start else []
    for _, run in itertools.groupby(shared):
        stop = start + len(list(run))
        tokens.append(ops.sum(rows[:, start:stop], axis=1, keepdims=True))
        start = stop
    return tokens


def _event_ids(schema: FeatureSchema, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of event, ids `(batch, length, values)` by field."""
    kinds = []
    for kind in schema.event_kinds():
        columns = schema.field_columns(kind[0].name).items()
        # Fields alone: behind them each history has quantities of its own.
        kinds.append({f: joined([inputs[h.name][:, :, part] for h in kind]) for f, part in columns})
    return kinds


def _embed_events(
    schema: FeatureSchema, inputs: Mapping[str, Any], embedding: Embedding
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
