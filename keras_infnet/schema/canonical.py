"""Canonical values of raw columns: identifiers, bags, numbers and lists, checked.

A missing value is `-1` in an integer field, `""` in a string field and NaN in a number.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.did_you_mean import check_known
from keras_infnet._base.exact import exact_below
from keras_infnet.schema.frames import is_list

MISSING_INT = -1
MISSING_STRING = ""
# What stands for a missing number in a CSV file. A missing text is an empty cell alone, since
# "NA" and "null" may be names.
NO_NUMBER = (
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|"
    "nan|null"
).split("|")
NO_TEXT = [MISSING_STRING]
_EXPECTED = {"int": "integers", "string": "strings"}
# What Python, JSON and numpy write of a list.
_WRITTEN_LIST = r"^\s*[\[(][^\[\]()]*[\])]\s*$"
_SEVERAL = (list, tuple, np.ndarray)
_AS_TEXT = "`frame[name].map(str, na_action='ignore')`"


def missing_id(dtype: str) -> Any:
    """What stands for "missing" in a field of dtype `"string"` or `"int"`."""
    return MISSING_STRING if dtype == "string" else MISSING_INT


def arrow_type(dtype: str) -> pa.DataType:
    """Arrow's type of the values of a field of dtype `"string"` or `"int"`."""
    return pa.string() if dtype == "string" else pa.int64()


def column(frame: pd.DataFrame, name: str, needed_by: str) -> pd.Series:
    """The column, or a ValueError that suggests the nearest name."""
    check_known(name, frame.columns, f"{needed_by}: the frame has no column `{name}`.")
    found: Any = frame[name]
    if isinstance(found, pd.DataFrame):
        raise ValueError(f"{needed_by}: the frame has {found.shape[1]} columns named `{name}`.")
    return found


def infer_dtype(series: pd.Series, label: str) -> str | None:
    """`"int"` or `"string"`, as the values (or the values of lists) are; `None` if all are missing.

    Raises:
        ValueError: They are neither, such as times or numbers with a fraction.
    """
    values = as_arrow(series, "integers or strings", label)
    while is_list(values.type):
        values = values.flatten()
    kind = _plain_type(values.type)
    # A column without any value is floats in pandas.
    if values.null_count == len(values):
        return None
    if (dtype := _dtype_of(kind)) is None:
        raise _wrong_type(kind, "integers or strings", label)
    return dtype


def id_values(series: pd.Series, dtype: str, label: str) -> pa.Array:
    """Values of a one-valued field, missing ones as -1 or the empty string."""
    return _canonical(as_arrow(series, _EXPECTED[dtype], label), dtype, label)


def user_ids(series: pd.Series, label: str) -> tuple[pd.Series, str | None]:
    """Users as canonical integers or strings, `-1` or `""` for nobody, and which they are.

    Raises:
        ValueError: They are neither, or floats that may stand for two integers.
    """
    if series.dtype == object and pd.api.types.infer_dtype(series) == "mixed-integer":
        # Numbers of users and names of guests.
        nobody = series.isna() | (series == MISSING_STRING)
        return series.where(~nobody, MISSING_INT).reset_index(drop=True), "mixed"
    dtype = infer_dtype(series, label)
    # Of a column without any value it is not known.
    values = np.full(len(series), MISSING_INT)
    if dtype is not None:
        values = id_values(series, dtype, label).to_pandas()
    return pd.Series(values), dtype


def user_codes(series: pd.Series, label: str) -> np.ndarray:
    """A code of each row's user, in the order in which they appear; -1 for nobody."""
    users, dtype = user_ids(series, label)
    codes = np.full(len(users), -1, "int64")
    known = np.asarray(users != missing_id(dtype or "int"))
    codes[known] = pd.factorize(users[known])[0]
    return codes


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
    return _list_array(as_arrow(series, "one list a row", label), label)


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
        raise ValueError(
            f"{label}: found values of type {series.dtype}; expected numbers. Convert the column"
            + (", or declare a DateTimeFeature." if series.dtype.kind == "M" else ".")
        )
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    if series.dtype == object or not pd.api.types.is_numeric_dtype(series.dtype):
        try:
            values = np.asarray(series.astype("object").where(series.notna(), np.nan), "float64")
            series = pd.Series(values, name=series.name)
        except (TypeError, ValueError) as error:
            raise _wrong_values(series, "numbers", label) from error
    # Others than float32 by way of float64, in which they are bounded before they are rounded.
    exact = "float32" if series.dtype == np.float32 else "float64"
    values = series.to_numpy(dtype=exact, na_value=np.nan)
    if not np.isfinite(values).all():
        _check_no_number(values, allow_missing, label)
    limit = np.finfo("float32").max
    return flush(np.clip(values, -limit, limit).astype("float32", copy=False))


def _check_no_number(values: np.ndarray, allow_missing: bool, label: str) -> None:
    """A ValueError for infinity, and for NaN where it is no value."""
    if np.isinf(values).any():
        raise ValueError(f"{label}: {int(np.isinf(values).sum())} values are infinite.")
    missing = int(np.isnan(values).sum())
    if missing and not allow_missing:
        raise ValueError(
            f"{label}: {missing} of {len(values)} values are NaN. Fill them, or declare the "
            "feature with `allow_missing=True` to give missing values a bucket of their own."
        )


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
    """int64 values 0 and 1, with -1 for unknown; read as a task reads its labels."""
    found = number_values(series, True, label)
    values = np.where(np.isnan(found), np.float32(MISSING_INT), found)
    bad = ~np.isin(values, (MISSING_INT, 0, 1))
    if bad.any():
        raise ValueError(
            f"{label}: {int(bad.sum())} values are not 0, 1 or missing (such as {found[bad][0]:g})."
        )
    return values.astype("int64")


def _canonical(values: pa.Array, dtype: str, label: str) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.null_count == len(values):
        values = pa.nulls(len(values), arrow_type(dtype))
    elif _dtype_of(values.type) != dtype:
        raise _wrong_type(values.type, _EXPECTED[dtype], label)
    elif dtype == "int":
        values = _as_int64(values, label)
    if dtype == "string":
        return pc.fill_null(values.cast(pa.string()), MISSING_STRING)
    return pc.fill_null(values, MISSING_INT)


def _as_int64(values: pa.Array, label: str) -> pa.Array:
    kind = values.type
    if pa.types.is_floating(kind):
        end = exact_below(kind.to_pandas_dtype())
        values = pc.cast(values, pa.float64())
        values = pc.if_else(pc.is_nan(values), None, values)
        if (pc.max(pc.abs(values)).as_py() or 0) >= end:
            raise ValueError(
                f"{label}: found floats of 2**{end.bit_length() - 1} or more ({kind}), where two "
                "integers may be one float. Read the column as integers: pandas has `Int64`, which "
                "knows missing values."
            )
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{label}: expected integers; {error}. Make them whole numbers below 2**63, or text "
            f"by {_AS_TEXT}."
        ) from error


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves, where a column is a dictionary of them."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _dtype_of(kind: pa.DataType) -> str | None:
    """`"int"` or `"string"`, as what identifiers of this type are read; `None`: as neither."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "int" if is_number or pa.types.is_boolean(kind) else None


def _as_lists(series: pd.Series, dtype: str, separator: str | None, label: str) -> pa.ListArray:
    if series.dtype == object and isinstance(_first_value(series), (set, frozenset)):
        raise ValueError(f"{label}: found sets, whose order is not defined; expected lists.")
    values = as_arrow(series, f"lists of {_EXPECTED[dtype]}", label)
    if separator is not None and not is_list(values.type):
        texts = _canonical(values, "string", label)
        lists = texts[:0]
        if _has_bracket(texts):
            lists = texts.filter(pc.match_substring_regex(texts, _WRITTEN_LIST))
        if len(lists):
            raise ValueError(
                f"{label}: {len(lists)} values are lists written as text (such as "
                f"{lists[0].as_py()!r}), not values with {separator!r} between them. Read them by "
                "`frame[name].map(ast.literal_eval, na_action='ignore')`, and leave out "
                "`separator`."
            )
        parts = pc.split_pattern(texts, separator)
        return _split_values(parts, dtype, label)
    return _list_array(values, label, " (or strings, with `separator`)")


def _has_bracket(texts: pa.Array) -> bool:
    """Whether a list may be written there: a look at the bytes, which costs next to nothing."""
    data = texts.buffers()[2]
    letters = np.frombuffer(data or b"", "uint8")
    return bool((letters == ord("[")).any() or (letters == ord("(")).any())


def _first_value(series: pd.Series) -> Any:
    """The first value that is not missing; None if all are."""
    there = series.notna().to_numpy()
    return series.iloc[there.argmax()] if there.any() else None


def as_arrow(series: pd.Series, expected: str, label: str) -> pa.Array:
    """The column as an Arrow array, missing values as nulls; or a ValueError that names both."""
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        # An empty array is one of floats, also beside those of texts.
        if any(type(value) is np.ndarray for value in series):
            lists = series.map(lambda v: v.tolist() if type(v) is np.ndarray else v)
            return as_arrow(lists, expected, label)
        raise _wrong_values(series, expected, label) from error
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _list_array(values: pa.Array, label: str, hint: str = "") -> pa.ListArray:
    if pa.types.is_null(values.type):
        values = values.cast(pa.list_(pa.null()))
    if is_list(values.type) and not pa.types.is_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if not pa.types.is_list(values.type):
        raise ValueError(
            f"{label}: found values of type {values.type}; expected one list a row{hint}."
        )
    return values


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


def _wrong_type(found: pa.DataType, expected: str, label: str) -> ValueError:
    advice = _advice(_plain_type(found))
    return ValueError(f"{label}: found values of type {found}; expected {expected}. {advice}")


def _advice(found: pa.DataType) -> str:
    """What to do with a column of a type that was not expected."""
    if is_list(found):
        return (
            "Of nested lists make one list a row; of one list a row declare a CategoricalFeature "
            "with `max_values` of 2 or more."
        )
    if (dtype := _dtype_of(found)) is not None:
        convert = "`.astype('Int64')`" if dtype == "string" else _AS_TEXT
        return f'Convert the column by {convert}, or declare the feature with dtype="{dtype}".'
    if pa.types.is_binary(found) or pa.types.is_large_binary(found):
        return "Make text of the bytes: `frame[name].str.decode('utf-8')`."
    more = ", or declare a DateTimeFeature" if pa.types.is_temporal(found) else ""
    return f"Make text of them by {_AS_TEXT}{more}."


def _wrong_values(series: pd.Series, expected: str, label: str) -> ValueError:
    values: Any = series.dropna()
    is_nested = len(values) and type(values.iloc[0]) in _SEVERAL
    lists: list[Any] = [row if type(row) in _SEVERAL else [row] for row in values]
    found = sorted({type(value).__name__ for row in lists for value in row})
    advice = ""
    if expected.endswith("numbers") or "list" in expected:
        pass
    elif len(found) > 1:
        advice = f" Make all of one type, such as text: {_AS_TEXT}."
    elif found == ["int"]:
        advice = f" They are beyond 64 bits: make text of them by {_AS_TEXT}."
    shown = f"{'lists of ' if is_nested else ''}{', '.join(found)}"
    return ValueError(f"{label}: found values of type {shown}; expected {expected}.{advice}")
