"""Lists: the rows that a key holds together, such as an impression's, and which row is in which."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_infnet.schema.canonical import column, user_codes

# Beside the labels of a batch: a code of each row's list, -1 in none, -2 for a row that fills up.
LIST_CODES = "#list"
NO_LIST, FILLS_UP = -1, -2


def checked_list_key(key: Any) -> tuple[str, ...] | None:
    """The columns of a schema's `list_key`; a ValueError if it is no name, and no tuple of some."""
    if key is None:
        return None
    names: tuple[Any, ...] = (key,)
    if isinstance(key, (list, tuple)):
        names = tuple(cast(Sequence[Any], key))
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"FeatureSchema: list_key is {key!r}; expected the name of a column, or several, such "
            'as "impression_id" or ("user_id", "date").'
        )
    if len(set(names)) < len(names):
        raise ValueError(f"FeatureSchema: list_key names a column twice: {', '.join(names)}.")
    return names


def list_codes(key: Sequence[str], user_key: str, frame: pd.DataFrame, who: str) -> np.ndarray:
    """A code of each row's list; -1 where a column of the key is missing: the row is in no list.

    Args:
        key: Columns of integers, strings, dates or datetimes.
        user_key: Column of users, looked at where the frame has it.
        frame: The rows.
        who: Who asks, for error messages.

    Returns:
        Int64 array `(rows,)`.

    Raises:
        ValueError: A column is missing or is none of ids, or a list has rows of several users.
    """
    # A client reads a schema without metrics.
    from keras_infnet.metrics.group_codes import group_codes

    codes = group_codes([_column_codes(frame, name, who) for name in key])
    if user_key in frame.columns and user_key not in key:
        _check_one_user(codes, frame, user_key, f"{who}, list_key ({', '.join(key)})")
    return codes


def _column_codes(frame: pd.DataFrame, name: str, who: str) -> np.ndarray:
    label = f"{who}, list_key `{name}`"
    values = column(frame, name, label)
    is_category = isinstance(values.dtype, pd.CategoricalDtype)
    known: Any = values.cat.categories if is_category else values
    if pd.api.types.infer_dtype(known) in ("date", "datetime", "datetime64"):
        return pd.factorize(values)[0]
    return user_codes(values, label)


def _check_one_user(codes: np.ndarray, frame: pd.DataFrame, user_key: str, label: str) -> None:
    users = user_codes(frame[user_key], f"{label}, user key")
    listed = np.flatnonzero(codes >= 0)
    _, firsts, lists = np.unique(codes[listed], return_index=True, return_inverse=True)
    firsts = listed[firsts][lists]
    other = np.flatnonzero(users[listed] != users[firsts])
    if len(other):
        row, first = listed[other[0]], firsts[other[0]]
        one, another = frame[user_key].iloc[np.array([first, row])].tolist()
        raise ValueError(
            f"{label}: one list has rows of several users, such as {one!r} in row "
            f"{frame.index[first]} and {another!r} in row {frame.index[row]}. A list is one "
            f"user's: if ids are a user's own, add the user, list_key=(\"{user_key}\", ...)."
        )
