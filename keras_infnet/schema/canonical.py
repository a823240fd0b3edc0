"""Canonical values of raw columns: identifiers, bags, numbers and lists, checked.

A missing value is `-1` in an integer field, `""` in a string field and NaN in a number.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.did_you_mean import did_you_mean

MISSING_INT = -1
MISSING_STRING = ""
_EXPECTED = {"int": "integers", "string": "strings"}
# From here on two whole numbers may be one float.
_LARGEST_FLOAT_ID = 2**53


def missing_id(dtype: str) -> Any:
    """What stands for "missing" in a field of dtype `"string"` or `"int"`."""
    return MISSING_STRING if dtype == "string" else MISSING_INT


def arrow_type(dtype: str) -> pa.DataType:
    """Arrow's type of the values of a field of dtype `"string"` or `"int"`."""
    return pa.string() if dtype == "string" else pa.int64()


def column(frame: pd.DataFrame, name: str, needed_by: str) -> pd.Series:
    """The column, or a ValueError that suggests the nearest name."""
    if name not in frame.columns:
        raise ValueError(
            f"{needed_by}: the frame has no column `{name}`."
            + did_you_mean(name, map(str, frame.columns))
        )
    found: Any = frame[name]
    if isinstance(found, pd.DataFrame):
        raise ValueError(f"{needed_by}: the frame has {found.shape[1]} columns named `{name}`.")
    return found


def require_rows(frame: Any, what: str) -> None:
    """A ValueError for something that is no frame or has no row."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{what}: found {type(frame).__name__}; expected a pandas DataFrame.")
    if len(frame) == 0:
        raise ValueError(f"{what}: the frame is empty; expected at least one row.")


def infer_dtype(series: pd.Series, label: str) -> str | None:
    """`"int"` or `"string"`, as the values (or the values of lists) are; `None` if all are missing.

    Raises:
        ValueError: They are neither, such as times or numbers with a fraction.
    """
    values = _arrow(series, "integers or strings", label)
    while _is_list(values.type):
        values = values.flatten()
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    # A column without any value is floats in pandas.
    if values.null_count == len(values):
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return "int"
    raise ValueError(
        f"{label}: found values of type {kind}; expected integers or strings. Convert the column."
    )


def id_values(series: pd.Series, dtype: str, label: str) -> pa.Array:
    """Values of a one-valued field, missing ones as -1 or the empty string."""
    return _canonical(_arrow(series, _EXPECTED[dtype], label), dtype, label)


def id_lists(series: pd.Series, dtype: str, separator: str | None, label: str) -> pa.ListArray:
    """One list a row, of canonical values; a null row is an empty bag."""
    lists = _as_lists(series, dtype, separator, label)
    return pa.ListArray.from_arrays(offsets(lists), _canonical(lists.flatten(), dtype, label))


def pad_lists(lists: pa.ListArray, width: int, fill: Any) -> np.ndarray:
    """The first `width` entries of each list, padded on the right: `(rows, width)`."""
    bounds = np.asarray(lists.offsets)
    index = bounds[:-1, None] + np.arange(width)
    inside = index < bounds[1:, None]
    flat: np.ndarray = lists.values.to_numpy(zero_copy_only=False)
    if not len(flat):
        return np.full(index.shape, fill, flat.dtype)
    return np.where(inside, flat[np.where(inside, index, 0)], fill)


def list_values(series: pd.Series, label: str) -> pa.ListArray:
    """One list a row, of whatever values; a null row stays null."""
    return _list_array(_arrow(series, "one list a row", label), label)


def list_weights(series: pd.Series, values: pa.ListArray, width: int, label: str) -> np.ndarray:
    """Weights of the values of each list, float32 `(rows, width)`; 0 where there is no value."""
    lengths = np.asarray(pc.list_value_length(values))
    try:
        lists = pa.array(series, pa.list_(pa.float32()), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise _wrong_values(series, "lists of numbers", label) from error
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    found = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    bad = np.flatnonzero(found != lengths)
    if len(bad):
        raise ValueError(
            f"{label}: {len(bad)} rows have another number of weights than of values (such as row "
            f"{series.index[bad[0]]}: {found[bad[0]]} weights, {lengths[bad[0]]} values)."
        )
    flat = np.asarray(pc.fill_null(lists.flatten(), np.nan))
    if len(flat) and not (np.isfinite(flat).all() and (flat >= 0).all()):
        raise ValueError(f"{label}: weights must be finite and 0 or more.")
    lists = pa.ListArray.from_arrays(offsets(lists), pa.array(flat))
    return pad_lists(lists, width, np.float32(0)).astype("float32")


def number_values(series: pd.Series, allow_missing: bool, label: str) -> np.ndarray:
    """float32 values; NaN is an error unless `allow_missing`, infinity always."""
    # numpy would make nanoseconds of a time, and drop an imaginary part.
    if getattr(series.dtype, "kind", "O") in "cmM":
        raise ValueError(f"{label}: found values of type {series.dtype}; expected numbers.")
    if series.dtype == object or not pd.api.types.is_numeric_dtype(series.dtype):
        try:
            series = pd.Series(np.asarray(series, dtype="float64"), name=series.name)
        except (TypeError, ValueError) as error:
            raise _wrong_values(series, "numbers", label) from error
    values = series.to_numpy(dtype="float64", na_value=np.nan)
    if np.isinf(values).any():
        raise ValueError(f"{label}: {int(np.isinf(values).sum())} values are infinite.")
    missing = int(np.isnan(values).sum())
    if missing and not allow_missing:
        raise ValueError(
            f"{label}: {missing} of {len(values)} values are NaN. Fill them, or declare the "
            "feature with `allow_missing=True` to give missing values a bucket of their own."
        )
    limit = np.finfo("float32").max
    return flush(np.clip(values, -limit, limit).astype("float32"))


def flush(values: np.ndarray) -> np.ndarray:
    """Subnormal numbers as 0, since TensorFlow's threads may do so and buckets must not differ."""
    return np.where(np.abs(values) < np.finfo("float32").tiny, np.float32(0), values)


def vectors(series: pd.Series, dim: int, label: str) -> pa.FixedSizeListArray:
    """One float32 vector of length `dim` a row."""
    lists = list_values(series, label)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    other = np.flatnonzero(lengths != dim)
    if len(other):
        raise ValueError(
            f"{label}: {len(other)} of {len(lengths)} rows have another length (such as row "
            f"{series.index[other[0]]}: {lengths[other[0]]}); expected one list of {dim} floats a "
            "row."
        )
    try:
        flat = pc.fill_null(lists.flatten().cast(pa.float32(), safe=False), np.nan)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _wrong_values(series, "lists of numbers", label) from error
    rows = np.asarray(flat).reshape(len(lists), dim)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ValueError(f"{label}: {bad} of {len(rows)} vectors hold NaN or infinity.")
    return pa.FixedSizeListArray.from_arrays(flat, dim)


def feedbacks(series: pd.Series, label: str) -> np.ndarray:
    """int64 values 0 and 1, with -1 for unknown."""
    values = np.asarray(id_values(series, "int", label))
    bad = ~np.isin(values, (MISSING_INT, 0, 1))
    if bad.any():
        raise ValueError(
            f"{label}: {int(bad.sum())} values are not 0, 1 or missing (such as {values[bad][0]})."
        )
    return values


def _canonical(values: pa.Array, dtype: str, label: str) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_null(kind):
        values = values.cast(pa.string() if dtype == "string" else pa.int64())
    elif dtype == "string" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise _wrong_type(kind, dtype, label)
    elif dtype == "int":
        values = _as_int64(values, label)
    if dtype == "string":
        return pc.fill_null(values.cast(pa.string()), MISSING_STRING)
    return pc.fill_null(values, MISSING_INT)


def _as_int64(values: pa.Array, label: str) -> pa.Array:
    kind = values.type
    if pa.types.is_boolean(kind):
        return values.cast(pa.int64())
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
        if (pc.max(pc.abs(values)).as_py() or 0) >= _LARGEST_FLOAT_ID:
            raise ValueError(
                f"{label}: found floats of 2**53 or more, where two integers may be one float. "
                "Read the column as integers: pandas has `Int64`, which knows missing values."
            )
    elif not pa.types.is_integer(kind):
        raise _wrong_type(kind, "int", label)
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f"{label}: expected integers; {error}.") from error


def _as_lists(series: pd.Series, dtype: str, separator: str | None, label: str) -> pa.ListArray:
    if series.dtype == object and isinstance(_first_value(series), (set, frozenset)):
        raise ValueError(f"{label}: found sets, whose order is not defined; expected lists.")
    values = _arrow(series, f"lists of {_EXPECTED[dtype]}", label)
    if separator is not None and not pa.types.is_list(values.type):
        parts = pc.split_pattern(_canonical(values, "string", label), separator)
        return _split_values(parts, dtype, label)
    return _list_array(values, label, " (or strings, with `separator`)")


def _first_value(series: pd.Series) -> Any:
    """The first value that is not missing; None if all are."""
    there = series.notna().to_numpy()
    return series.iloc[there.argmax()] if there.any() else None


def _arrow(series: pd.Series, expected: str, label: str) -> pa.Array:
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise _wrong_values(series, expected, label) from error
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _list_array(values: pa.Array, label: str, hint: str = "") -> pa.ListArray:
    if pa.types.is_null(values.type):
        values = values.cast(pa.list_(pa.null()))
    if _is_list(values.type) and not pa.types.is_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if not pa.types.is_list(values.type):
        raise ValueError(
            f"{label}: found values of type {values.type}; expected one list a row{hint}."
        )
    return values


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _split_values(parts: pa.ListArray, dtype: str, label: str) -> pa.ListArray:
    flat = pc.utf8_trim_whitespace(parts.flatten())
    if dtype == "int":
        try:
            flat = pc.if_else(pc.equal(flat, ""), None, flat).cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise ValueError(f"{label}: expected integers between separators; {error}.") from error
    return pa.ListArray.from_arrays(offsets(parts), flat)


def offsets(lists: pa.ListArray) -> pa.Array:
    """Offsets that start at 0 and give a null row no entries, as `flatten` does."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def _wrong_type(found: pa.DataType, dtype: str, label: str) -> ValueError:
    other = "string" if dtype == "int" else "int"
    return ValueError(
        f"{label}: found values of type {found}; expected {_EXPECTED[dtype]}. Convert the column, "
        f'or declare the feature with dtype="{other}".'
    )


def _wrong_values(series: pd.Series, expected: str, label: str) -> ValueError:
    kinds = sorted({type(v).__name__ for v in series.dropna().head(1000)})
    return ValueError(f"{label}: found values of type {', '.join(kinds)}; expected {expected}.")
