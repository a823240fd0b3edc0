"""Fused embedding: one weight for many fields, and one gather instead of one for each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet._backend.row_lookups import mark_as_table, row_lookups
from keras_infnet._keras_internals import unlocked
from keras_infnet.layers.configured_layer import ConfiguredLayer, joined, table_initializer

# Of tables that several devices share out, each has as many rows.
_MULTIPLE, _PADDED_FROM = 64, 131_072
_MOST_ROWS = 2**31 - 1


class EmbeddingTables(ConfiguredLayer):
    """A layer of named tables, for columns of ids or for all ids of a table.

    A subclass has `dim`, and by table its number of ids in `table_rows`.
    """

    dim: int
    table_rows: dict[str, int]

    def columns_by_table(self, tables: Sequence[str]) -> list[int]:
        """How many columns of `ids` are of each of the tables: one."""
        return [1] * len(tables)

    def compute_output_spec(
        self, ids: Any, tables: Sequence[str] | None = None, whole: bool = False
    ) -> Any:
        if whole:
            rows = sum(self.table_rows[name] for name in self._known(tables))
            return keras.KerasTensor((rows, self.dim), dtype="float32")
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def compute_output_shape(self, ids_shape: tuple) -> tuple:
        return (*ids_shape, self.dim)

    def _known(self, tables: Sequence[str] | None) -> list[str]:
        return known_tables(self.name, self.table_rows, tables)

    def _of_columns(self, tables: Sequence[str] | None, columns: int) -> list[str]:
        """The table of each column of ids."""
        tables = self._known(tables)
        if len(tables) != columns:
            raise ValueError(
                f"Layer `{self.name}`: `ids` has {columns} columns; expected {len(tables)}, "
                "one for each name in `tables`."
            )
        return tables


@keras.saving.register_keras_serializable(package="keras_infnet")
class FusedEmbedding(EmbeddingTables):
    """Embedding tables of one width, stored one below the other in one weight.

    `output[..., c, :] = E[ids[..., c] + offset(tables[c])]`, where `E` is `(sum of rows, dim)` and
    `offset(t)` the number of rows above table `t`. All columns are read in one gather. The look-up
    is in float32 and the rows are cast to the compute dtype after it. From 131,072 rows on, `E` has
    up to 63 more that no id points to, a multiple of 64 in all, so that 2, 4, .. or 64 devices can
    share them out.

    `SparseAdagrad`, `LazyAdam` and `LazyAdamW` update a large `E` by rows: those of the look-ups,
    and with `whole` all rows of the tables that are given.

    Ids are not checked here, which would cost a pass over the look-up: `FeatureEncoder` makes none
    out of range. Of others the rows have no meaning, or TensorFlow raises an error.

    Args:
        table_rows: Rows of each table, by name.
        dim: Width of a row.
        embeddings_initializer: Initializer of `E`. Defaults to `None`: normal with standard
            deviation 0.01.
        frozen: Tables that may have frozen rows, with the number of a row's first columns that are
            then frozen; `set_rows` adds to it. Defaults to `None`: none.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        ids: Integer tensor `(batch, ..., columns)`; column `c` holds ids of table `tables[c]`,
            from 0 to its rows - 1.
        tables: Name of the table of each column. Defaults to `None`: all tables, in order.
        whole: Whether to give the tables themselves, one below the other; `ids` are not read.
            Defaults to `False`.

    Returns:
        Float tensor `(batch, ..., columns, dim)`; with `whole`, float32 `(rows of tables, dim)`.

    Raises:
        ValueError: A size is below 1, there are 2^31 rows or more, a table is unknown, or `tables`
            and the columns of `ids` differ in number.

    Example:
        >>> embedding = keras_infnet.layers.FusedEmbedding({"user_id": 10, "video_id": 20}, dim=4)
        >>> tuple(embedding(keras.ops.array([[3, 7], [9, 19]])).shape)
        (2, 2, 4)

    Reference:
        The initializer is measured: Keras's default, three times as wide, is worse on KuaiRand.
    """

    def __init__(
        self,
        table_rows: Mapping[str, int],
        dim: int,
        embeddings_initializer: Any = None,
        frozen: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        table_rows = dict(table_rows)
        if not table_rows or min(dim, *table_rows.values()) < 1:
            raise ValueError(
                f"`table_rows` and `dim` must be 1 or more. Received: {table_rows=}, {dim=}"
            )
        if sum(table_rows.values()) > _MOST_ROWS:
            raise ValueError(
                f"`table_rows` must sum up to {_MOST_ROWS} or less, since ids are int32. Received: "
                f"{table_rows=}"
            )
        self.table_rows = table_rows
        self.dim = dim
        self.embeddings_initializer = table_initializer(embeddings_initializer)
        self.frozen = dict(frozen or {})
        # By table: which rows are frozen, and what they are.
        self._frozen_rows: dict[str, tuple[Any, Any]] = {}
        ends = np.cumsum(list(table_rows.values()))
        self._offsets = dict(zip(table_rows, [0, *ends.tolist()], strict=False))

    def build(self, ids_shape: tuple) -> None:
        rows = sum(self.table_rows.values())
        if rows >= _PADDED_FROM:
            rows += -rows % _MULTIPLE
        self.embeddings = self.add_weight(
            (rows, self.dim),
            self.embeddings_initializer,
            name="embeddings",
            autocast=False,
        )
        mark_as_table(self.embeddings)
        for table in self._known(list(self.frozen)):
            self._add_frozen(table)

    def freeze(self, table: str, columns: int) -> None:
        """Makes room for frozen rows of a table beside it, so that no optimizer can reach them.

        Args:
            table: Name of the table.
            columns: How many of a row's first columns are frozen.

        Raises:
            ValueError: The table is unknown, or frozen with another number of columns.
        """
        self._known([table])
        if self.frozen.setdefault(table, columns) != columns:
            raise ValueError(
                f"Layer `{self.name}`: table `{table}` has {self.frozen[table]} frozen columns; "
                f"expected {columns}."
            )
        if self.built and table not in self._frozen_rows:
            with unlocked(self):
                self._add_frozen(table)

    def set_rows(self, table: str, ids: np.ndarray, rows: np.ndarray, trainable: bool) -> None:
        """Writes rows of a table, and freezes them or has them trained again.

        Args:
            table: Name of the table.
            ids: Integer array `(ids,)`; none may come twice.
            rows: Float array `(ids, columns)`, the first columns of these rows.
            trainable: Whether they are trained.

        Raises:
            ValueError: As `freeze`.
        """
        _write(self.embeddings, self._offsets[self._known([table])[0]] + ids, rows)
        if not trainable:
            self.freeze(table, rows.shape[1])
        if table in self._frozen_rows:
            is_frozen, values = self._frozen_rows[table]
            _write(is_frozen, ids, np.full((len(ids), 1), not trainable))
            _write(values, ids, rows)

    def origins(
        self, before: "FusedEmbedding", renewed: Mapping[str, Sequence[int]]
    ) -> list[tuple[Any, np.ndarray]]:
        """Which rows of this layer's weights are which of those of a layer with fewer ids.

        Args:
            before: A layer of the same tables, none of which has more rows, and the same frozen
                ones.
            renewed: Ids whose rows begin anew, by table.

        Returns:
            Each weight, and int64 `(rows,)`: the row in `before`, or -1.
        """
        of_tables = {
            table: _origin(before.table_rows[table], rows, renewed.get(table, ()))
            for table, rows in self.table_rows.items()
        }
        whole = np.full(self.embeddings.shape[0], -1)
        for table, origin in of_tables.items():
            first = self._offsets[table]
            moved = np.where(origin < 0, -1, origin + before._offsets[table])
            whole[first : first + len(origin)] = moved
        found: list[tuple[Any, np.ndarray]] = [(self.embeddings, whole)]
        for table, weights in self._frozen_rows.items():
            found += [(weight, of_tables[table]) for weight in weights]
        return found

    def rows_of(self, table: str) -> np.ndarray:
        """A table as it is read, frozen rows included, `(rows, dim)`."""
        first = self._offsets[table]
        rows = np.array(ops.convert_to_numpy(self.embeddings)[first:][: self.table_rows[table]])
        if table in self._frozen_rows:
            is_frozen, frozen = map(ops.convert_to_numpy, self._frozen_rows[table])
            part = rows[:, : frozen.shape[1]]
            rows[:, : frozen.shape[1]] = np.where(is_frozen, frozen, part)
        return rows

    def settle(self) -> None:
        """Writes frozen rows into the tables, where optimizers may have moved what none reads."""
        for table, (is_frozen, rows) in self._frozen_rows.items():
            ids = np.flatnonzero(ops.convert_to_numpy(is_frozen))
            _write(self.embeddings, self._offsets[table] + ids, ops.convert_to_numpy(rows)[ids])

    def call(self, ids: Any, tables: Sequence[str] | None = None, whole: bool = False) -> Any:
        if whole:
            return joined([self._table(name) for name in self._known(tables)], axis=0)
        tables = self._of_columns(tables, ids.shape[-1])
        offsets = np.array([self._offsets[table] for table in tables], "int32")
        rows = embedding_lookup(self.embeddings, ops.cast(ids, "int32") + offsets)
        if self._reads_frozen:
            columns = [
                self._or_frozen(table, rows[..., i, :], ids[..., i])
                for i, table in enumerate(tables)
            ]
            rows = ops.stack(columns, axis=-2)
        return ops.cast(rows, self.compute_dtype)

    @property
    def _reads_frozen(self) -> bool:
        by_row = row_lookups(self.embeddings)
        return bool(self._frozen_rows) and not (by_row is not None and by_row.has_frozen_rows)

    def _add_frozen(self, table: str) -> None:
        def add(name: str, columns: int, dtype: str) -> Any:
            shape = (self.table_rows[table], columns)
            return self.add_weight(
                shape, "zeros", dtype, trainable=False, autocast=False, name=f"{name}_{table}"
            )

        is_frozen = add("is_frozen", 1, "bool")
        self._frozen_rows[table] = (is_frozen, add("frozen", self.frozen[table], "float32"))

    def _or_frozen(self, table: str, rows: Any, ids: Any = None) -> Any:
        """Rows of a table, or those that are frozen instead; without ids, of the whole table."""
        if table not in self._frozen_rows:
            return rows
        is_frozen, frozen = map(ops.convert_to_tensor, self._frozen_rows[table])
        if ids is not None:
            is_frozen, frozen = (ops.take(x, ids, axis=0) for x in (is_frozen, frozen))
        columns = self.frozen[table]
        first = ops.where(is_frozen, frozen, rows[..., :columns])
        if columns == self.dim:
            return first
        return ops.concatenate([first, rows[..., columns:]], axis=-1)

    def _table(self, name: str) -> Any:
        table = self._trained_table(name)
        return self._or_frozen(name, table) if self._reads_frozen else table

    def _trained_table(self, name: str) -> Any:
        first = self._offsets[name]
        if row_lookups(self.embeddings) is not None:
            # A part of the weight would have a gradient as large as all of it.
            rows = np.arange(first, first + self.table_rows[name], dtype="int32")
            return embedding_lookup(self.embeddings, rows)
        return ops.convert_to_tensor(self.embeddings)[first : first + self.table_rows[name]]


def known_tables(layer: str, known: Iterable[str], tables: Sequence[str] | None) -> list[str]:
    """The tables that are asked for, all if none is said; a ValueError for an unknown one."""
    known = list(known)
    unknown = sorted(set(tables or ()) - set(known))
    if unknown:
        raise ValueError(f"Layer `{layer}`: no table {unknown}; expected names of {known}.")
    return known if tables is None else list(tables)


def _origin(before: int, now: int, renewed: Sequence[int]) -> np.ndarray:
    """The row before of each row now, or -1."""
    origin = np.where(np.arange(now) < before, np.arange(now), -1)
    origin[np.asarray(renewed, "int64")] = -1
    return origin


def _write(variable: Any, ids: np.ndarray, rows: np.ndarray) -> None:
    """Sets the first columns of some rows."""
    values = np.array(ops.convert_to_numpy(variable))
    values[ids, : rows.shape[1]] = rows
    variable.assign(values)
