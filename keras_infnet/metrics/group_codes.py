"""Group codes: any group key, such as user or (user, day), as one integer a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.exact import exact_below
from keras_infnet.metrics.observed_rows import check_order, observed_binary_rows


def group_codes(groups: Any) -> np.ndarray:
    """One integer a row, equal where the keys are equal; -1 where a key is missing.

    Missing are `None`, NaN, `-1` and `""`: rows of nobody are no group.

    Args:
        groups: One key a row: an array, series or list of ints, strings, tuples or other hashable
            values. Several key columns: a DataFrame, an array `(rows, columns)`, or a list or tuple
            of arrays, series or lists of one length.

    Returns:
        Int64 array `(rows,)`.

    Raises:
        ValueError: Keys are floats that may stand for two integers, or can't be keys, such as
            lists; or the columns differ in length.

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
        both = (codes >= 0) & (further >= 0)
        # Coding again after each column keeps the product below rows * rows.
        pairs, _ = pd.factorize((codes * (further.max(initial=0) + 1) + further)[both], sort=True)
        codes = np.full(len(both), -1)
        codes[both] = pairs
    return codes


def grouped_rows(
    labels: Any, scores: Any, groups: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores, weights and group codes of the rows that are observed and in a group."""
    codes = group_codes(groups)
    for keys in key_columns(groups):
        check_order(labels=labels, groups=keys)
    labels, scores, weights, observed = observed_binary_rows(labels, scores, sample_weight)
    if len(codes) != len(observed):
        raise ValueError(
            f"The groups must have one key a row. Received: {len(codes)} keys and "
            f"{len(observed)} labels. Several key columns go in a list: groups=[user, day]."
        )
    codes = codes[observed]
    return labels[codes >= 0], scores[codes >= 0], weights[codes >= 0], codes[codes >= 0]


def key_columns(groups: Any) -> list[Any]:
    """The key columns of what `group_codes` takes."""
    if hasattr(groups, "columns"):
        # Arrow has the columns themselves there.
        return [groups[name] for name in getattr(groups, "column_names", groups.columns)]
    if isinstance(groups, np.ndarray) and groups.ndim == 2:
        return list(groups.T)
    if isinstance(groups, Sequence) and len(groups):
        if all(isinstance(keys, list) or hasattr(keys, "dtype") for keys in groups):
            # A NumPy scalar has a dtype too, but no dimension: then these are keys, not columns.
            if all(np.ndim(keys) == 1 for keys in groups):
                return list(groups)
    return [groups]


def _column_codes(keys: Any) -> np.ndarray:
    if hasattr(keys, "to_pandas"):
        keys = keys.to_pandas()
    elif not hasattr(keys, "dtype"):
        # A gap must not make floats of whole numbers.
        keys = pd.Series(list(keys), dtype=object)
        keys = keys if keys.isna().any() else keys.infer_objects()
    keys = pd.Series(keys)
    if pd.api.types.is_float_dtype(keys.dtype):
        end = exact_below(keys.dtype)
        if (keys.abs() >= end).any():
            raise ValueError(
                f"The keys of the groups are floats of 2**{end.bit_length() - 1} or more "
                f"({keys.dtype}), where two integers may be one float. Read them as integers: "
                "pandas has `Int64`, which knows missing values."
            )
    # Keys of Python need not be comparable.
    try:
        codes, distinct = pd.factorize(keys, sort=keys.dtype != object)
    except (TypeError, NotImplementedError) as error:
        of = "" if keys.name is None else f" in column `{keys.name}`"
        raise ValueError(
            f"The keys of the groups{of} hold values that can't be one, such as "
            f"{keys.dropna().iloc[0]!r}; expected integers, strings, dates or tuples."
        ) from error
    distinct = pd.Series(distinct)
    if isinstance(distinct.dtype, pd.ArrowDtype):
        # Arrow compares decimals only with such as are no longer.
        distinct = distinct.astype(object)
    missing = np.asarray((distinct == -1) | (distinct == ""), bool)
    return np.where(np.append(missing, True)[codes], -1, codes)
