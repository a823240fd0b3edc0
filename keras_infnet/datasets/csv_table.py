"""Reads a CSV file with declared column types; errors name the file, the line and the column."""

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.schema.canonical import NO_NUMBER, NO_TEXT

MISSING_ID = -1
_EXPECTED = {"flag": "0 or 1", "float32": "a number"}
# What pyarrow reads; whole numbers that may be missing are floats first.
_TYPES = {"flag": pa.int64(), "float32": pa.float64(), "str": pa.string()}
# What pyarrow says of a line that it refuses, when it reads on one thread.
_LENGTH = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)
_VALUE = re.compile(r"column #(\d+): Row #(\d+): .* invalid (?:value '(.*)'|UTF8)", re.DOTALL)


@dataclass(frozen=True)
class CsvForm:
    """How a file is written.

    Args:
        names: Names of all columns, where the first line has none. Such a file has no quotes.
        delimiter: What is between two fields, of one character or more.
        encoding: Encoding of the text.
    """

    names: tuple[str, ...] = ()
    delimiter: str = ","
    encoding: str = "utf8"


_COMMAS = CsvForm()
# Stands for a delimiter of several characters, which pyarrow does not take.
_ONE_CHARACTER = "\x1f"


def read_csv_table(
    path: Path,
    columns: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
    *,
    form: CsvForm = _COMMAS,
) -> pd.DataFrame:
    """The declared columns of a CSV file, in the order of the declaration.

    Column types: `"int8"` to `"int64"` (no value missing; wider where a value needs it), the same
    with a question mark (missing is -1; whole numbers may be written `3.0`), `"flag"` (0 or 1, as
    int8), `"float32"` (missing is NaN) and `"str"` (missing is NaN: only an empty cell is).

    Args:
        path: The file. Its first line names the columns, unless `form` does; columns that are not
            declared are passed over.
        columns: Column type by column name.
        optional: The same for columns that the file may lack.
        form: How the file is written. Defaults to a line of names, commas and UTF-8.

    Returns:
        A frame whose index is the row number.

    Raises:
        ValueError: A column is missing, or a line can't be read: the message has file, line and
            column.
    """
    file = _CsvFile(path, columns, optional, form)
    return file.frame(file.read())


def read_csv_chunks(
    path: Path,
    chunk_rows: int,
    columns: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
) -> Iterator[pd.DataFrame]:
    """What `read_csv_table` reads, in frames of `chunk_rows` rows; the index is the row number."""
    file = _CsvFile(path, columns, optional)
    first, waiting = 0, pa.schema(list(file.types.items())).empty_table()
    with file.errors_located():
        for batch in csv.open_csv(path, **file.options()):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            while len(waiting) >= chunk_rows:
                yield file.frame(waiting.slice(0, chunk_rows), first)
                first, waiting = first + chunk_rows, waiting.slice(chunk_rows)
    if len(waiting):
        yield file.frame(waiting, first)


def count_csv_rows(path: Path) -> int:
    """Number of rows below the first line."""
    return _CsvFile(path, {_header(path)[0]: "str"}).read().num_rows


class _CsvFile:
    """A file and the types of its columns that are declared and there."""

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        optional: Mapping[str, str] | None = None,
        form: CsvForm = _COMMAS,
    ) -> None:
        self.path, self.form = path, form
        self.header = list(form.names) or _header(path)
        # Lines above the first row.
        self.above = 0 if form.names else 1
        for column in columns:
            expected = " Expected the column names of the original file in its first line."
            check_known(column, self.header, f"{path}: column `{column}` is missing.", expected)
        there = {c: kind for c, kind in (optional or {}).items() if c in self.header}
        self.kinds = {**columns, **there}
        whole = {True: pa.float64(), False: pa.int64()}
        self.types = {c: _TYPES.get(k, whole[k.endswith("?")]) for c, k in self.kinds.items()}

    def read(self) -> pa.Table:
        """The whole file."""
        with self.errors_located():
            return csv.read_csv(self._source(), **self.options())

    @contextlib.contextmanager
    def errors_located(self) -> Iterator[None]:
        """Pyarrow's errors become errors with the line."""
        try:
            yield
        except pa.ArrowInvalid as error:
            raise self._located(error) from None

    def frame(self, table: pa.Table, first: int = 0) -> pd.DataFrame:
        """Rows of the file, of which `first` come before, as their types say."""
        arrays = {column: self._array(table, column, first) for column in self.kinds}
        rows = pd.RangeIndex(first, first + len(table))
        return pd.DataFrame(arrays, copy=False).set_axis(rows)

    def options(self, threads: bool = True) -> dict[str, Any]:
        """How pyarrow reads it."""
        read = csv.ReadOptions(
            column_names=self.header,
            skip_rows=self.above,
            block_size=1 << 24,
            use_threads=threads,
            encoding=self.form.encoding,
        )
        one = self.form.delimiter if len(self.form.delimiter) == 1 else _ONE_CHARACTER
        parse = csv.ParseOptions(delimiter=one, quote_char=False if self.form.names else '"')
        convert = csv.ConvertOptions(
            column_types=self.types,
            include_columns=list(self.types),
            null_values=NO_NUMBER,
            strings_can_be_null=False,
        )
        return {"read_options": read, "parse_options": parse, "convert_options": convert}

    def _source(self) -> Any:
        """The file, with one character between fields."""
        if len(self.form.delimiter) == 1:
            return self.path
        text = pa.input_stream(self.path).read()
        return pa.BufferReader(text.replace(self.form.delimiter.encode(), _ONE_CHARACTER.encode()))

    def _array(self, table: pa.Table, column: str, first: int) -> np.ndarray | pd.Series:
        chunks, kind = table.column(column), self.kinds[column]
        if kind == "str":
            no_text = pc.is_in(chunks, pa.array(NO_TEXT))
            return pc.if_else(no_text, None, chunks).to_pandas()
        if chunks.null_count and self.types[column] == pa.int64():
            row = first + int(np.argmax(chunks.is_null().to_numpy()))
            raise self._bad(row, column, "empty")
        values = chunks.to_numpy()
        if kind == "float32":
            return values.astype("float32")
        good = np.ones(len(values), bool)
        if kind == "flag":
            good = (values == 0) | (values == 1)
        elif kind.endswith("?"):
            values = np.where(np.isnan(values), MISSING_ID, values)
            good = (values == np.round(values)) & (abs(values) < 2**53)
        if not good.all():
            row = int(np.argmin(good))
            raise self._bad(first + row, column, f"{values[row]:g}")
        dtype = "int8" if kind == "flag" else kind.rstrip("?")
        limits = np.iinfo(dtype)
        fits = not len(values) or limits.min <= values.min() <= values.max() <= limits.max
        return values.astype(dtype if fits else "int64")

    def _bad(self, row: int, column: str, found: str) -> ValueError:
        kind, line = self.kinds[column], _line_number(self.path, row + self.above)
        whole = "a whole number or nothing" if kind.endswith("?") else "a whole number"
        return ValueError(
            f"{self.path}, line {line}: column `{column}` is {found}; "
            f"expected {_EXPECTED.get(kind, whole)}."
        )

    def _located(self, error: pa.ArrowInvalid) -> ValueError:
        """Pyarrow's error with the line, which it knows when it reads on one thread."""
        message = str(error)
        try:
            csv.read_csv(self._source(), **self.options(threads=False))
        except pa.ArrowInvalid as again:
            message = str(again)
        if found := _LENGTH.search(message):
            row, expected, actual, line = found.groups()
            return ValueError(
                f"{self.path}, line {_line_number(self.path, int(row) - 1)}: {actual} fields; "
                f"expected {expected}. The file is cut short or corrupt: fetch it again. Line: "
                f"{line[:80]!r}"
            )
        if found := _VALUE.search(message):
            column, row, value = found.groups()
            shown = "not UTF-8 text" if value is None else repr(value)
            return self._bad(int(row) - 1 - self.above, self.header[int(column)], shown)
        return ValueError(f"{self.path}: can't be read as CSV: {message}")


def _header(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            line = file.readline().decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}, line 1: not UTF-8 text; expected a CSV file.") from None
    if not line:
        raise ValueError(f"{path}: the file is empty; expected column names in its first line.")
    return [name.strip().strip('"') for name in line.split(",")]


def _line_number(path: Path, place: int) -> int:
    """Number of the line at a place, counted from 0; blank lines have none."""
    with pa.input_stream(path) as stream, io.BufferedReader(stream) as file:
        lines = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(itertools.islice(lines, place, None))
