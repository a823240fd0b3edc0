"""Group codes: any group key, such as user or (user, day), as one integer a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def group_codes(groups: Any) -> np.ndarray:
    """One integer a row, equal where the keys are equal.

    Args:
        groups: One key a row: an array, series or list of ints, strings, tuples or other hashable
            values. Several key columns: a DataFrame, an array `(rows, columns)`, or a list or tuple
            of arrays, series or lists of one length.

    Returns:
        Int64 array `(rows,)`.

    Raises:
        ValueError: A key is missing, or the columns differ in length.

    Example:
        >>> group_codes([["ann", "ann", "bob"], [1, 2, 1]]).tolist()
        [0, 1, 2]
    """
    columns = [_column_codes(keys) for keys in _key_columns(groups)]
    lengths = [len(codes) for codes in columns]
    if len(set(lengths)) != 1:
        raise ValueError(
            f"The key columns of the groups must have one length. Received: {lengths}."
        )
    codes = columns[0]
    for further in columns[1:]:
        # Coding again after each column keeps the product below rows * rows.
        codes = _sorted_codes(codes * (further.max(initial=0) + 1) + further)
    return codes


def _key_columns(groups: Any) -> list[Any]:
    if hasattr(groups, "columns"):
        return [groups[name] for name in groups.columns]
    if isinstance(groups, np.ndarray) and groups.ndim == 2:
        return list(groups.T)
    if isinstance(groups, Sequence) and len(groups):
        if all(isinstance(keys, list) or hasattr(keys, "dtype") for keys in groups):
            # A NumPy scalar has a dtype too, but no dimension: then these are keys, not columns.
            if all(np.ndim(keys) == 1 for keys in groups):
                return list(groups)
    return [groups]


def _column_codes(keys: Any) -> np.ndarray:
    missing = keys.isna() if hasattr(keys, "isna") else None
    keys = np.asarray(keys) if hasattr(keys, "dtype") else np.fromiter(keys, dtype=object)
    if missing is None and keys.dtype.kind in "fcmM":
        missing = np.isnan(keys)
    elif missing is None and keys.dtype == object:
        missing = np.not_equal(keys, keys) | np.equal(keys, np.array(None))
    if missing is not None and np.any(missing):
        raise ValueError(
            f"The groups hold {int(np.sum(missing))} missing keys, the first at position "
            f"{int(np.argmax(missing))}. Drop these rows, or give each a key of its own."
        )
    return _hashed_codes(keys) if keys.dtype == object else _sorted_codes(keys)


def _sorted_codes(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys, return_inverse=True)[1]


def _hashed_codes(keys: np.ndarray) -> np.ndarray:
    """Codes of Python objects, which need not be comparable; faster than sorting them."""
    code_of = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    return np.fromiter(map(code_of.__getitem__, keys), "int64", len(keys))
