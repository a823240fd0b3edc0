"""Warnings of logs that are probably not what they should be: rows twice, shuffled rows."""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.data.row_source import WantedColumns
from keras_infnet.schema.canonical import column, user_codes
from keras_infnet.schema.frames import is_list
from keras_infnet.schema.schema import FeatureSchema

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def repeated_rows(
    schema: FeatureSchema, log: pd.DataFrame, users: np.ndarray, times: np.ndarray
) -> int:
    """How many rows equal an earlier one in all columns of the schema, lists aside.

    Args:
        schema: The schema.
        log: Rows.
        users: Codes of their users, -1 for none.
        times: Their times, or codes of them.
    """
    hashes = times.astype("uint64") * _SPREAD ^ users.astype("uint64")
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return 0
    # Most logs have few rows of one user and time: only these are compared as a whole.
    ordered = np.unique(twice)
    places = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
    wanted = WantedColumns.of(schema).wanted
    # Two rows without a user need not be of one.
    alike = (ordered[places] == hashes) & (users >= 0)
    rows = log.loc[alike, [c for c in log.columns if c in wanted]]
    return int(rows[[c for c in rows.columns if is_scalar(rows[c])]].duplicated().sum())


def repeated_in_frame(schema: FeatureSchema, log: pd.DataFrame) -> int:
    """`repeated_rows` of rows whose users and times nobody has read yet."""
    if schema.time_key is None or not {schema.user_key, schema.time_key} <= set(log.columns):
        return 0
    users = _users(schema, log)
    return repeated_rows(schema, log, users, pd.factorize(log[schema.time_key])[0])


def warn_of_repeated_rows(repeated: int, rows: int, who: str, stacklevel: int) -> None:
    """Says that a log holds rows twice, if it does."""
    if repeated:
        warnings.warn(
            f"{who}: {repeated} of {rows} rows equal an earlier row of the same user and time. "
            "They train, count and enter histories twice: if the log was read or joined twice, use "
            "`log.drop_duplicates()`.",
            stacklevel=stacklevel,
        )


def warn_of_shuffled_frame(schema: FeatureSchema, log: Any, who: str) -> None:
    """`warn_of_shuffled_rows` of rows whose users nobody has read yet; a frame of pandas alone."""
    is_untimed = schema.time_key is None and isinstance(log, pd.DataFrame)
    if is_untimed and schema.user_key in log.columns:
        warn_of_shuffled_rows(log.index, _users(schema, log), who, stacklevel=4)


def warn_of_shuffled_rows(
    labels: pd.Index, users: np.ndarray, who: str, stacklevel: int = 3
) -> None:
    """Says that a log without times seems to be shuffled, as far as its index tells."""
    # Labels that are texts have no order.
    if labels.is_monotonic_increasing or labels.dtype.kind not in "iufM":
        return
    order = np.argsort(users, kind="stable")
    users, places = users[order], np.argsort(np.argsort(labels))[order]
    back = int(((places[1:] < places[:-1]) & (users[1:] == users[:-1]) & (users[1:] >= 0)).sum())
    if back:
        warnings.warn(
            f"{who}: {back} of {len(labels)} rows have a smaller index than the row of the "
            "same user before them. With `time_key=None` the order of rows is the order of time: "
            "was the log shuffled? Use `log.sort_index()`, or `log.reset_index(drop=True)` if the "
            "order is right.",
            stacklevel=stacklevel,
        )


def _users(schema: FeatureSchema, log: pd.DataFrame) -> np.ndarray:
    label = f"user key `{schema.user_key}`"
    return user_codes(column(log, schema.user_key, label), label)


def is_scalar(values: pd.Series) -> bool:
    """Whether values can be compared: lists and arrays can't."""
    if isinstance(values.dtype, pd.ArrowDtype):
        return not is_list(values.dtype.pyarrow_dtype)
    if values.dtype != object:
        return True
    known = values.dropna()
    return not len(known) or not isinstance(known.iloc[0], (list, tuple, dict, set, np.ndarray))
