"""Adaptive embedding: tables whose rare ids have narrower rows, projected to one width."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.row_lookups import computed_table
from keras_infnet.layers.configured_layer import joined, table_initializer
from keras_infnet.layers.fused_embedding import EmbeddingTables, FusedEmbedding

# Of a width: the table of columns that have no row there.
_NONE = "#none"


@keras.saving.register_keras_serializable(package="keras_infnet")
class AdaptiveEmbedding(EmbeddingTables):
    """Embedding tables in parts of several widths, read as vectors of one width.

    `output[..., c, :] = E_w[r] P_w`: the id in column `c` lies in a part of width `w` of its table,
    and is row `r` of `E_w`, which holds all parts of this width, one below the other. `P_w
    (w, dim)` is one matrix a width, and there is none for `w = dim`. `E_w` is a `FusedEmbedding`,
    read in one gather; ids that lie in other parts read a row of it that counts 0, whose gradient
    is 0, so that nothing is scattered. All is computed in float32, and cast to the compute dtype
    after.

    Args:
        table_parts: Width and number of ids of each part of a table, in the order of its ids, by
            name of the table: `{"video_id": [(32, 400), (16, 1800), (8, 2800)]}`.
        dim: Width of the output.
        embeddings_initializer: Initializer of each `E_w`. Defaults to `None`: normal with standard
            deviation 0.01. `P_w` starts normal with standard deviation `w^(-1/2)`, so that outputs
            start as wide as rows.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        ids: Integer tensor `(batch, ..., columns)`; column `c` holds ids of table `tables[c]`,
            from 0 on. Ids are not checked: one beyond its table gives zeros.
        tables: Name of the table of each column. Defaults to `None`: all tables, in order.
        whole: Whether to give the vectors of all ids, one table below the other; `ids` are not
            read. Defaults to `False`.

    Returns:
        Float tensor `(batch, ..., columns, dim)`; with `whole`, float32 `(ids of tables, dim)`.

    Raises:
        ValueError: There is no table, a size is below 1, a width is above `dim` or twice in a
            table, a table is unknown, or `tables` and the columns of `ids` differ in number.

    Example:
        >>> parts = {"user_id": [(4, 10)], "video_id": [(4, 20), (2, 80)]}
        >>> embedding = keras_infnet.layers.AdaptiveEmbedding(parts, dim=4)
        >>> tuple(embedding(keras.ops.array([[3, 7], [9, 99]])).shape)
        (2, 2, 4)

    Reference:
        Ginart et al., Mixed Dimension Embeddings, arXiv:1909.11810; that parts of one width share
        a matrix is our choice.
    """

    def __init__(
        self,
        table_parts: Mapping[str, Sequence[Sequence[int]]],
        dim: int,
        embeddings_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table_parts = {t: [list(part) for part in parts] for t, parts in table_parts.items()}
        self.dim = dim
        for table, parts in self.table_parts.items():
            widths = [width for width, _ in parts]
            if not parts or min(map(min, parts)) < 1 or len(set(widths)) < len(widths):
                raise ValueError(
                    f"`table_parts` must be widths and numbers of ids of 1 or more, each width "
                    f"once. Received: {parts} of table `{table}`"
                )
            if max(widths) > dim:
                raise ValueError(
                    f"`table_parts` must be at most `dim` wide. Received: {parts} of table "
                    f"`{table}`, {dim=}"
                )
        if not self.table_parts:
            raise ValueError("`table_parts` must have a table. Received: {}")
        self.embeddings_initializer = table_initializer(embeddings_initializer)
        # By width: the first id and the number of ids of the part, by table.
        self._places: dict[int, dict[str, tuple[int, int]]] = {}
        self.table_rows = {}
        for table, parts in self.table_parts.items():
            first = 0
            for width, ids in parts:
                self._places.setdefault(width, {})[table] = (first, ids)
                first += ids
            self.table_rows[table] = first
        self._places = dict(sorted(self._places.items(), reverse=True))
        self.embeddings = [self._of_width(width) for width in self._places]

    def build(self, ids_shape: tuple) -> None:
        self.projections = {}
        for embedding in self.embeddings:
            embedding.build(ids_shape)
            if embedding.dim < self.dim:
                width = embedding.dim
                start: Any = keras.initializers.RandomNormal(stddev=width**-0.5)
                self.projections[f"{width}"] = self.add_weight(
                    (width, self.dim), start, name=f"projection_{width}", autocast=False
                )

    def vectors_of(self, table: str) -> np.ndarray:
        """What ids of a table are read as, `(ids, dim)`."""
        return np.array(ops.convert_to_numpy(self._table(table)))

    def new_ids(
        self, before: "AdaptiveEmbedding", renewed: Mapping[str, Sequence[int]]
    ) -> dict[str, np.ndarray]:
        """By table with new ids, bool `(ids,)`: which are not those of a layer with fewer ids.

        Args:
            before: A layer of the same tables and widths, whose last parts may have fewer ids.
            renewed: Ids whose rows begin anew, by table.
        """
        found: dict[str, np.ndarray] = {}
        for table, rows in self.table_rows.items():
            is_new = np.arange(rows) >= before.table_rows[table]
            is_new[np.asarray(renewed.get(table, ()), "int64")] = True
            if is_new.any():
                found[table] = is_new
        return found

    def origins(
        self, before: "AdaptiveEmbedding", renewed: Mapping[str, Sequence[int]]
    ) -> list[tuple[FusedEmbedding, np.ndarray, dict[str, np.ndarray], np.ndarray | None]]:
        """Which rows of this layer's weights are which of those of a layer with fewer ids.

        Args:
            before: As in `new_ids`.
            renewed: As in `new_ids`.

        Returns:
            For each `E_w`, that layer; int64 `(rows,)`: the row in `before`, or -1; by table the
            new ids that lie in it, in the order of their rows; and `P_w` of `before`, None where
            there is none.
        """
        is_new, found = self.new_ids(before, renewed), []
        for i, (width, places) in enumerate(self._places.items()):
            (whole,) = (rows for _, rows in self.embeddings[i].origins(before.embeddings[i], {}))
            of_part: dict[str, np.ndarray] = {}
            start = 0
            for table, (first, ids) in places.items():
                rows = whole[start : start + ids]
                # The row behind a part counts 0, and moved with its end.
                _, ids_before = before._places[width][table]
                whole[start + ids] = whole[start] + ids_before
                if table in is_new:
                    new_here = is_new[table][first : first + ids]
                    rows[new_here] = -1
                    of_part[table] = first + np.flatnonzero(new_here)
                start += ids + 1
            found.append((self.embeddings[i], whole, of_part, before._matrix(width)))
        return found

    def _matrix(self, width: int) -> np.ndarray | None:
        """`P_w` in float64; None where rows are as wide as the output."""
        if width == self.dim:
            return None
        return np.asarray(ops.convert_to_numpy(self.projections[f"{width}"]), "float64")

    def call(self, ids: Any, tables: Sequence[str] | None = None, whole: bool = False) -> Any:
        if whole:
            return joined([self._table(table) for table in self._known(tables)], axis=0)
        tables = self._of_columns(tables, ids.shape[-1])
        return ops.cast(self._rows(ops.cast(ids, "int32"), tables), self.compute_dtype)

    def _rows(self, ids: Any, tables: Sequence[str]) -> Any:
        """Float32 vectors of ids `(..., columns)`: those of each width, and 0 of all others."""
        output: Any = 0.0
        for embedding, places in zip(self.embeddings, self._places.values(), strict=True):
            of_columns = [places.get(table, (0, 0)) for table in tables]
            first, number = np.array(of_columns, "int32").T
            place = ids - first
            there = ops.logical_and(place >= 0, place < number)
            names = [table if table in places else _NONE for table in tables]
            # The row behind a part counts 0.
            rows = embedding(ops.where(there, place, number), tables=names)
            rows = rows * ops.cast(ops.expand_dims(there, -1), rows.dtype)
            output = output + self._projected(rows)
        return output

    def _projected(self, rows: Any) -> Any:
        width = rows.shape[-1]
        if width == self.dim:
            return rows
        return ops.matmul(rows, ops.convert_to_tensor(self.projections[f"{width}"]))

    def _table(self, name: str) -> Any:
        """Float32 vectors `(ids, dim)` of all ids of a table."""
        by_width = dict(zip(self._places, self.embeddings, strict=True))
        parts = [
            self._projected(
                by_width[width](np.array([0], "int32"), tables=(name,), whole=True)[:ids]
            )
            for width, ids in self.table_parts[name]
        ]
        table = joined(parts, axis=0)
        return computed_table(table, lambda ids: self._rows(ids[..., None], (name,))[..., 0, :])

    def _of_width(self, width: int) -> FusedEmbedding:
        rows = {table: ids + 1 for table, (_, ids) in self._places[width].items()}
        if len(rows) < len(self.table_parts):
            rows[_NONE] = 1
        # An initializer gives the same values at each call: every weight needs its own.
        start = self.embeddings_initializer.clone()
        name = f"fused_embedding_{width}"
        return FusedEmbedding(rows, width, start, dtype="float32", name=name)
