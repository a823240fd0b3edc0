"""ValueCounts: how often each value of a column occurs, counted chunk by chunk."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Counts of chunks are merged when so many wait, or as many as there are merged ones.
_WAITING = 1 << 20


class ValueCounts:
    """Counts of the values of a column; memory is that of the distinct values.

    Args:
        kind: Type of the values.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._merged = _table(pa.array([], kind), pa.array([], pa.int64()))
        self._waiting: list[pa.Table] = []

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        """Counts the values of one more chunk."""
        counts = pc.value_counts(values.cast(self._merged["value"].type))
        self._add(_table(counts.field("values"), counts.field("counts")))

    def merge(self, other: "ValueCounts") -> None:
        """Adds what another has counted."""
        self._add(other.table())

    def table(self) -> pa.Table:
        """Columns `value`, each once and in any order, and `count`."""
        if len(self._waiting) == 1 and not len(self._merged):
            self._merged = self._waiting.pop()
        if self._waiting:
            parts = pa.concat_tables([self._merged, *self._waiting])
            summed = parts.group_by("value").aggregate([("count", "sum")])
            self._merged = _table(summed["value"], summed["count_sum"])
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


def _table(values: pa.Array, counts: pa.Array) -> pa.Table:
    return pa.table({"value": values, "count": counts})
