"""ValueCounts: how often each value of a column occurs, counted chunk by chunk."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet.schema.instants import MISSING_TIME

# Counts of chunks are merged when so many wait, or as many as there are merged ones.
_WAITING = 1 << 20


class ValueCounts:
    """Counts of the values of a column; memory is that of the distinct values.

    Args:
        kind: Type of the values.
        timed: Whether the last time of each value is kept as well.
    """

    def __init__(self, kind: pa.DataType, timed: bool = False) -> None:
        self.kind, self.timed = kind, timed
        no_times = pa.array([], pa.int64()) if timed else None
        self._merged = _table(pa.array([], kind), pa.array([], pa.int64()), no_times)
        self._waiting: list[pa.Table] = []

    def add(self, values: pa.Array | pa.ChunkedArray, times: np.ndarray | None = None) -> None:
        """Counts the values of one more chunk.

        Args:
            values: The values.
            times: int64 `(values,)`, milliseconds, of counts that are timed. Defaults to unknown.
        """
        values = values.cast(self._merged["value"].type)
        if not self.timed:
            counts = pc.value_counts(values)
            self._add(_table(counts.field("values"), counts.field("counts")))
            return
        flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        found = pc.dictionary_encode(flat, null_encoding="encode")
        places = np.asarray(found.indices)
        last = np.full(len(found.dictionary), MISSING_TIME)
        if times is not None:
            np.maximum.at(last, places, times)
        number = np.bincount(places, minlength=len(last))
        self._add(_table(found.dictionary, pa.array(number, pa.int64()), pa.array(last)))

    def merge(self, other: "ValueCounts") -> None:
        """Adds what another has counted."""
        self._add(other.table())

    def table(self) -> pa.Table:
        """Columns `value`, each once and in any order, `count`, and `last` where it is timed."""
        if len(self._waiting) == 1 and not len(self._merged):
            self._merged = self._waiting.pop()
        if self._waiting:
            parts = pa.concat_tables([self._merged, *self._waiting])
            last: list[tuple[str, str]] = [("last", "max")] if self.timed else []
            summed = parts.group_by("value").aggregate([("count", "sum"), *last])
            times = summed["last_max"] if self.timed else None
            self._merged = _table(summed["value"], summed["count_sum"], times)
            self._waiting = []
        return self._merged

    def increasing(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers that are not NaN, from the least to the largest, and their counts."""
        table = self.table()
        values, counts = np.asarray(table["value"]), np.asarray(table["count"])
        known = ~np.isnan(values)
        values, counts = values[known], counts[known]
        order = np.argsort(values)
        return values[order], counts[order]

    def _add(self, counts: pa.Table) -> None:
        self._waiting.append(counts)
        if sum(map(len, self._waiting)) > max(_WAITING, len(self._merged)):
            self.table()


def _table(values: pa.Array, counts: pa.Array, last: Any = None) -> pa.Table:
    columns: dict[str, Any] = {"value": values, "count": counts}
    return pa.table(columns if last is None else columns | {"last": last})
