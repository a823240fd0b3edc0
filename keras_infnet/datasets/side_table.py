"""Side columns of users or items, looked up by key."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype

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
        self._keys, self._source, self._absent = table.index, source, absent
        twice = table.index[table.index.duplicated()].unique()
        if len(twice):
            raise ValueError(
                f"{source}: {len(twice)} values of `{table.index.name}` occur more than once "
                f"({_first(twice)}); expected one row each. Drop the repeated rows."
            )

        missing = [MISSING_ID if is_integer_dtype(kind) else np.nan for kind in table.dtypes]
        last = pd.DataFrame(dict(zip(table, missing, strict=True)), [MISSING_ID])
        # Place -1, that of an absent key, is the last row.
        self._rows = pd.concat([table, last.astype(table.dtypes)])

    def join(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A left join: the frame's rows and index, the table's columns after the frame's."""
        key = str(self._keys.name)
        places = self._keys.get_indexer(pd.Index(frame[key]))
        absent = frame.loc[places < 0, key]
        if len(absent) and self._absent == "error":
            distinct = absent.unique()
            raise ValueError(
                f"{self._source}: {len(distinct)} values of `{key}` ({len(absent)} rows) are in "
                f"the log and not in this table ({_first(distinct)}). Complete the table, or pass "
                "absent='missing' to treat their features as missing."
            )
        found = self._rows.take(places).set_axis(frame.index)
        return pd.DataFrame({**frame, **found}, copy=False)


def _first(values: Any) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
