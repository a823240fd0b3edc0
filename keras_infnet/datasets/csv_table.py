"""Reads a CSV file with declared column types; errors name the file, the line and the column."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from keras_infnet._base.did_you_mean import did_you_mean

MISSING_ID = -1
_INTEGERS = ("int8", "int16", "int32", "int64")


def read_csv_table(
    path: Path, columns: Mapping[str, str], optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The declared columns of a CSV file, in the order of the declaration.

    Column types: `"int8"` to `"int64"` (no value missing; wider where a value needs it), the same
    with a question mark (missing is -1; whole numbers may be written `3.0`), `"flag"` (0 or 1, as
    int8), `"float32"` (missing is NaN) and `"str"` (missing is NaN).

    Args:
        path: The file. Its first line names the columns; columns that are not declared are passed
            over.
        columns: Column type by column name.
        optional: The same for columns that the file may lack.

    Returns:
        A frame whose index is the row number.

    Raises:
        ValueError: A column is missing, or a line can't be read: the message has file, line and
            column.
    """
    header, kinds = _kinds(path, columns, optional)
    return _as_frame(path, _read(path, header, kinds), kinds)


def read_csv_chunks(
    path: Path,
    chunk_rows: int,
    columns: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
) -> Iterator[pd.DataFrame]:
    """What `read_csv_table` reads, in frames of `chunk_rows` rows; the index is the row number."""
    header, kinds = _kinds(path, columns, optional)
    first, waiting = 0, pa.table({c: pa.array([], _arrow_type(k)) for c, k in kinds.items()})
    for batch in _read_batches(path, header, kinds):
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while len(waiting) >= chunk_rows:
            yield _as_frame(path, waiting.slice(0, chunk_rows), kinds, first)
            first, waiting = first + chunk_rows, waiting.slice(chunk_rows)
    if len(waiting):
        yield _as_frame(path, waiting, kinds, first)


def count_csv_rows(path: Path) -> int:
    """Number of rows below the first line."""
    header = _header(path)
    return _read(path, header, {header[0]: "str"}).num_rows


def _kinds(
    path: Path, columns: Mapping[str, str], optional: Mapping[str, str] | None
) -> tuple[list[str], dict[str, str]]:
    """The file's columns, and the types of those that are declared and there."""
    header = _header(path)
    for column in columns:
        if column not in header:
            raise ValueError(
                f"{path}: column `{column}` is missing.{did_you_mean(column, header)} "
                "Expected the column names of the original file in its first line."
            )
    there = {c: kind for c, kind in (optional or {}).items() if c in header}
    return header, {**columns, **there}


def _as_frame(
    path: Path, table: pa.Table, kinds: Mapping[str, str], first: int = 0
) -> pd.DataFrame:
    arrays = {c: _as_array(path, table, c, kind, first) for c, kind in kinds.items()}
    return pd.DataFrame(arrays, copy=False).set_axis(pd.RangeIndex(first, first + len(table)))


def _header(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            line = file.readline().decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}, line 1: not UTF-8 text; expected a CSV file.") from None
    if not line:
        raise ValueError(f"{path}: the file is empty; expected column names in its first line.")
    return [name.strip().strip('"') for name in line.split(",")]


def _read(path: Path, header: list[str], kinds: Mapping[str, str]) -> pa.Table:
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=header, skip_rows=1, block_size=1 << 24),
            convert_options=_convert_options({c: _arrow_type(k) for c, k in kinds.items()}),
        )
    except pa.ArrowInvalid as error:
        raise _located_error(path, header, kinds, error) from None


def _read_batches(
    path: Path, header: list[str], kinds: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from csv.open_csv(
            path,
            read_options=csv.ReadOptions(column_names=header, skip_rows=1, block_size=1 << 24),
            convert_options=_convert_options({c: _arrow_type(k) for c, k in kinds.items()}),
        )
    except pa.ArrowInvalid as error:
        raise _located_error(path, header, kinds, error) from None


def _convert_options(types: Mapping[str, pa.DataType]) -> csv.ConvertOptions:
    return csv.ConvertOptions(
        column_types=dict(types), include_columns=list(types), strings_can_be_null=True
    )


def _arrow_type(kind: str) -> pa.DataType:
    if kind == "str":
        return pa.string()
    return pa.int64() if kind == "flag" or kind in _INTEGERS else pa.float64()


def _as_array(
    path: Path, table: pa.Table, column: str, kind: str, first: int
) -> np.ndarray | pd.Series:
    chunks = table.column(column)
    if kind == "str":
        return chunks.to_pandas()
    if chunks.null_count and (kind == "flag" or kind in _INTEGERS):
        row = first + int(np.argmax(chunks.is_null().to_numpy()))
        raise ValueError(f"{_place(path, row, column)} is empty; expected {_expected(kind)}.")
    values = chunks.to_numpy()
    if kind == "float32":
        return values.astype("float32")
    if kind == "flag":
        _check(path, column, kind, values, (values == 0) | (values == 1), first)
        return values.astype("int8")
    if kind.endswith("?"):
        values = np.where(np.isnan(values), MISSING_ID, values)
        whole = (values == np.round(values)) & (abs(values) < 2**53)
        _check(path, column, kind, values, whole, first)
    return _narrow(values, kind.rstrip("?"))


def _narrow(values: np.ndarray, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    fits = len(values) == 0 or (values.min() >= limits.min and values.max() <= limits.max)
    return values.astype(dtype if fits else "int64")


def _check(
    path: Path, column: str, kind: str, values: np.ndarray, good: np.ndarray, first: int
) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{_place(path, first + row, column)} is {values[row]:g}; expected {_expected(kind)}."
        )


def _expected(kind: str) -> str:
    if kind == "flag":
        return "0 or 1"
    if kind == "float32":
        return "a number"
    return "a whole number or nothing" if kind.endswith("?") else "a whole number"


def _place(path: Path, row: int, column: str) -> str:
    return f"{path}, line {_line_number(path, row)}: column `{column}`"


def _line_number(path: Path, row: int) -> int:
    """Line of a row, counted from 0 below the first line; blank lines are no rows."""
    with path.open("rb") as file:
        lines = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(itertools.islice(lines, row + 1, None))


def _located_error(
    path: Path, header: list[str], kinds: Mapping[str, str], error: pa.ArrowInvalid
) -> ValueError:
    """Reads the file again, slowly, to find the first line that pyarrow refused."""
    short: list[csv.InvalidRow] = []

    def remember(row: csv.InvalidRow) -> str:
        short.append(row)
        return "skip"

    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=header, skip_rows=1, use_threads=False),
        parse_options=csv.ParseOptions(invalid_row_handler=remember),
        convert_options=_convert_options({column: pa.binary() for column in kinds}),
    )
    if short:
        row = short[0]
        return ValueError(
            f"{path}, line {_line_number(path, row.number - 2)}: {row.actual_columns} fields; "
            f"expected {row.expected_columns}. The file is cut short or corrupt: fetch it again. "
            f"Line: {row.text[:80]!r}"
        )
    for column, kind in kinds.items():
        texts = table.column(column).to_pandas().map(_text, na_action="ignore")
        if kind == "str":
            bad = texts.str.contains("�", regex=False, na=False)
        else:
            bad = texts.notna() & pd.to_numeric(texts, errors="coerce").isna()
            bad |= (kind == "flag" or kind in _INTEGERS) & texts.str.contains(r"[.eE]", na=False)
        if bad.any():
            row = int(np.argmax(bad))
            found = "not UTF-8 text" if kind == "str" else repr(texts[row])
            expected = "text" if kind == "str" else _expected(kind)
            return ValueError(f"{_place(path, row, column)} is {found}; expected {expected}.")
    return ValueError(f"{path}: can't be read as CSV: {error}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
