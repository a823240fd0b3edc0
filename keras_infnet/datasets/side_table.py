"""Side columns of users or items, looked up by key."""

from typing import Literal

import numpy as np
import pandas as pd

from keras_infnet.datasets.csv_table import MISSING_ID

Absent = Literal["error", "missing"]


class SideTable:
    """Columns of a table, looked up by an integer key.

    Args:
        table: One row a key.
        key: Its key column.
        source: Where the table comes from, for errors.
        absent: `"error"`, or `"missing"`: keys that the table lacks get -1, NaN or no text.

    Raises:
        ValueError: A key occurs twice.
    """

    def __init__(self, table: pd.DataFrame, key: str, source: str, absent: Absent) -> None:
        self.key = key
        self._keys = pd.Index(table[key])
        self._columns = table.drop(columns=key)
        self._source, self._absent = source, absent
        if not self._keys.is_unique:
            twice = self._keys[self._keys.duplicated()].unique()
            raise ValueError(
                f"{source}: {len(twice)} values of `{key}` occur more than once "
                f"({_first(twice)}); expected one row each. Drop the repeated rows."
            )

    def join(self, frame: pd.DataFrame, key: str) -> pd.DataFrame:
        """A left join: the frame's rows and index, the table's columns after the frame's."""
        positions = self._keys.get_indexer(frame[key])
        absent = positions < 0
        if absent.any() and self._absent == "error":
            self._refuse(frame.loc[absent, key], key)
        columns = {
            column: _take(self._columns[column], positions, absent) for column in self._columns
        }
        joined = {column: frame[column].array for column in frame} | columns
        return pd.DataFrame(joined, index=frame.index, copy=False)

    def _refuse(self, keys: pd.Series, key: str) -> None:
        distinct = keys.unique()
        raise ValueError(
            f"{self._source}: {len(distinct)} values of `{key}` ({len(keys)} rows) are in the log "
            f"and not in this table ({_first(distinct)}). Complete the table, or pass "
            "absent='missing' to treat their features as missing."
        )


def _take(column: pd.Series, positions: np.ndarray, absent: np.ndarray) -> object:
    taken = column.array.take(positions, allow_fill=False) if len(column) else None
    if not absent.any():
        return taken
    if pd.api.types.is_integer_dtype(column.dtype):
        values = np.full(len(positions), MISSING_ID, column.dtype)
        values[~absent] = column.to_numpy()[positions[~absent]]
        return values
    return column.array.take(positions, allow_fill=True)


def _first(values: object) -> str:
    shown = ", ".join(str(value) for value in values[:5])
    return shown + (", ..." if len(values) > 5 else "")
