"""Group codes: any group key, such as user or (user, day), as one integer a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


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
    columns = [_column_codes(keys) for keys in key_columns(groups)]
    lengths = [len(codes) for codes in columns]
    if len(set(lengths)) != 1:
        raise ValueError(
            f"The key columns of the groups must have one length. Received: {lengths}."
        )
    codes = columns[0]
    for further in columns[1:]:
        # Coding again after each column keeps the product below rows * rows.
        codes, _ = pd.factorize(codes * (further.max(initial=0) + 1) + further, sort=True)
    return codes


def key_columns(groups: Any) -> list[Any]:
    """The key columns of what `group_codes` takes."""
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
    keys = pd.Series(keys if hasattr(keys, "dtype") else list(keys))
    # Keys of Python need not be comparable.
    codes, _ = pd.factorize(keys, sort=keys.dtype != object)
    missing = codes < 0
    if missing.any():
        raise ValueError(
            f"The groups hold {int(missing.sum())} missing keys, the first at position "
            f"{int(missing.argmax())}. Drop these rows, or give each a key of its own."
        )
    return codes
