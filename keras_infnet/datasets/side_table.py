"""Side columns of users or items, looked up by key."""

from typing import Any, Literal

import pandas as pd

from keras_infnet.datasets.csv_table import MISSING_ID

Absent = Literal["error", "missing"]


class SideTable:
    """Columns of a table, looked up by an integer key.

    Args:
        table: One row a key, which is the index and has a name.
        source: Where the table comes from, for errors.
        absent: `"error"`, or `"missing"`: keys that the table lacks get -1, NaN or no text.

    Raises:
        ValueError: A key occurs twice.
    """

    def __init__(self, table: pd.DataFrame, source: str, absent: Absent) -> None:
        self._table, self._source, self._absent = table, source, absent
        twice = table.index[table.index.duplicated()].unique()
        if len(twice):
            raise ValueError(
                f"{source}: {len(twice)} values of `{table.index.name}` occur more than once "
                f"({_first(twice)}); expected one row each. Drop the repeated rows."
            )

    def join(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A left join: the frame's rows and index, the table's columns after the frame's."""
        key = self._table.index.name
        absent = frame.loc[~frame[key].isin(self._table.index), key]
        if len(absent) and self._absent == "error":
            distinct = absent.unique()
            raise ValueError(
                f"{self._source}: {len(distinct)} values of `{key}` ({len(absent)} rows) are in "
                f"the log and not in this table ({_first(distinct)}). Complete the table, or pass "
                "absent='missing' to treat their features as missing."
            )
        integers = self._table.select_dtypes("integer")
        found = self._table.drop(columns=integers.columns).reindex(frame[key])
        found = {**found, **integers.reindex(frame[key], fill_value=MISSING_ID)}
        joined = {**frame, **{column: found[column].array for column in self._table}}
        return pd.DataFrame(joined, frame.index, copy=False)


def _first(values: Any) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
