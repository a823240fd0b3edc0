"""Rows in chunks: a frame, an iterator of frames, Parquet or CSV files."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_infnet.data.log_files import LogFile, list_files
from keras_infnet.schema.canonical import NO_NUMBER, NO_TEXT, as_arrow
from keras_infnet.schema.frames import Frame, as_frame, decoded, is_frame
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

RowSource = Frame | Iterable[Frame] | str | Path | Sequence[str | Path]

_SAMPLE_BYTES = 1 << 20


class Place(NamedTuple):
    """Where a chunk comes from: a file or frame, and which rows of the whole source it holds."""

    source: str
    first: int
    rows: int

    def __str__(self) -> str:
        return f"{self.source}, rows {self.first} to {self.first + self.rows - 1}"


@dataclass(frozen=True)
class WantedColumns:
    """Which columns are read, so that others cost nothing.

    Args:
        required: Without one of them all columns are read, so that an error can suggest a name.
        wanted: Columns that are read where they are there.
        ids: Columns of identifiers, with their dtype; `None`: as the log has it.
    """

    required: frozenset[str]
    wanted: frozenset[str]
    ids: Mapping[str, str | None]

    @classmethod
    def of(cls, schema: FeatureSchema, more: Collection[str] = ()) -> "WantedColumns":
        """Columns of a schema's features, histories, tasks and keys, and some more."""
        required = {*schema.log_columns(), *more}
        events = {c for h in schema.histories for c in (*h.log_columns, *h.list_columns)}
        # Those that are computed need not be there.
        events |= {f.name for f in schema.features if f.name not in f.log_columns}
        keys = (
            schema.user_key,
            *(schema.list_key or ()),
            *(k for f in schema.past for k in f.keys),
        )
        ids: dict[str, str | None] = {key: None for key in keys if key != schema.time_key}
        for f in (f for f in schema.features if f.has_dtype):
            dtype = schema.declared_dtype(schema.table_of(f.name))
            ids[f.name] = "string" if f.is_text else dtype
        return cls(frozenset(required), frozenset(required | events), ids)

    @classmethod
    def of_events(cls, schema: FeatureSchema, history: History) -> "WantedColumns":
        """Columns of a log of the events of one history."""
        keys = {schema.user_key, str(schema.time_key)}
        required = frozenset(keys.union(history.log_columns))
        return cls(required, required, cls.of(schema).ids)

    def among(self, names: Iterable[str]) -> list[str]:
        """Of a table's columns, those to read."""
        names = list(names)
        if not self.required <= set(names):
            return names
        return [name for name in names if name in self.wanted]


def count_rows(rows: RowSource) -> int | None:
    """Number of rows: exact for frames and Parquet, estimated for CSV, `None` for an iterator."""
    if is_frame(rows):
        return getattr(rows, "__len__", lambda: None)()
    files = list_files(rows)
    return None if files is None else sum(_count_file(file) for file in files)


def describe(rows: RowSource) -> Any:
    """What tells whether rows are still the same when a preparation goes on."""
    files = list_files(rows)
    if files is None:
        return count_rows(rows) or type(rows).__name__
    return [[str(f), f.size, f.version] for f in files]


def read_chunks(
    rows: Any, columns: WantedColumns, chunk_rows: int
) -> Iterator[tuple[Place, pa.Table]]:
    """Tables of at most `chunk_rows` rows, each with where it comes from.

    Raises:
        ValueError: A file can't be read, a chunk is no frame, or there is no row at all.
    """
    files, first = list_files(rows), 0
    if files is None:
        is_one = is_frame(rows) or not hasattr(rows, "__iter__")
        tables = _frame_tables([rows] if is_one else rows, columns)
    else:
        tables = ((str(f), table) for f in files for table in read_file(f, columns, chunk_rows))
    for source, table in tables:
        for start in range(0, len(table), chunk_rows):
            part = table.slice(start, chunk_rows)
            yield Place(source, first, len(part)), part
            first += len(part)
    if first == 0:
        raise no_row()


def no_row() -> ValueError:
    """The error of a source without rows."""
    return ValueError("prepare: there is no row; expected at least one.")


def file_parts(files: Sequence[LogFile], chunk_rows: int) -> list[tuple[LogFile, list[int] | None]]:
    """Parts of files that can be read side by side: some row groups, of CSV the whole file."""
    parts: list[tuple[LogFile, list[int] | None]] = []
    for file in files:
        if not file.is_parquet:
            parts.append((file, None))
            continue
        with _open_parquet(file) as opened:
            groups = [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]
        of_part = (np.cumsum(groups) - groups) // chunk_rows
        parts += [(file, np.flatnonzero(of_part == part).tolist()) for part in np.unique(of_part)]
    return parts


def _count_file(file: LogFile) -> int:
    if file.is_parquet:
        with _open_parquet(file) as opened:
            return opened.metadata.num_rows
    with file.open() as opened:
        sample = opened.read(_SAMPLE_BYTES)
    # A compressed line is about a quarter of its text.
    lines = max(1, sample.count(b"\n")) if file.compression is None else 40_000
    return int(file.size * lines / len(sample))


def _open_parquet(file: LogFile) -> Any:
    """Opens a file; a damaged one is a ValueError. Checksums of pages, if any, are compared."""
    try:
        return pq.ParquetFile(
            file.path, page_checksum_verification=True, filesystem=file.filesystem
        )
    except (pa.ArrowException, OSError) as error:
        text = f"prepare: {file} can't be read as Parquet ({error}). {file.remedy}"
        raise ValueError(text) from error


def read_file(
    file: LogFile, columns: WantedColumns, chunk_rows: int, groups: list[int] | None = None
) -> Iterator[pa.Table]:
    """Tables of at most `chunk_rows` rows of a file, or of some row groups of a Parquet file."""
    if file.is_parquet:
        with _open_parquet(file) as opened:
            names = columns.among(opened.schema_arrow.names)
            try:
                for batch in opened.iter_batches(chunk_rows, row_groups=groups, columns=names):
                    yield decoded(pa.Table.from_batches([batch]))
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"prepare: {file} can't be read. {file.remedy} ({error})"
                ) from error
        return
    try:
        with file.open() as opened:
            header: Any = pd.read_csv(opened, nrows=0, compression=file.compression)
        names = columns.among(header.columns)
        ids = {name: dtype for name, dtype in columns.ids.items() if name in names}
        texts = {name for name, dtype in ids.items() if dtype != "int"}
        missing = {name: NO_TEXT if name in texts else NO_NUMBER for name in names}
        with (
            file.open() as opened,
            pd.read_csv(
                opened,
                usecols=names,
                dtype=dict.fromkeys(ids, "str"),
                keep_default_na=False,
                na_values=missing,
                chunksize=chunk_rows,
                compression=file.compression,
            ) as frames,
        ):
            for frame in frames:
                for name, dtype in ids.items():
                    if dtype != "string":
                        frame[name] = _as_written(frame[name], dtype)
                yield _as_table(frame[names], str(file))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"prepare: {file} can't be read as CSV: {error}") from error
    except OSError as error:
        raise ValueError(f"prepare: {file} can't be read. {file.remedy} ({error})") from error


def _as_written(texts: pd.Series, dtype: str | None) -> pd.Series:
    """Integers if all are written so, `7` or the `7.0` of a column with gaps; `07` is text.

    Args:
        texts: What the file has.
        dtype: `"int"` where that is declared: then `07` is 7.
    """
    written = pc.utf8_trim_whitespace(pa.array(texts, pa.string(), from_pandas=True))
    of_floats = pc.ends_with(written, ".0")
    if pc.any(of_floats).as_py():
        written = pc.replace_substring_regex(written, r"\.0$", "")
    try:
        numbers: Any = written.cast(pa.int64())
    except pa.ArrowInvalid:
        return texts
    if dtype is None and not pc.all(pc.equal(numbers.cast(pa.string()), written)).as_py():
        return texts
    if pc.any(pc.and_(of_floats, pc.greater_equal(pc.abs(numbers), 2**53))).as_py():
        return texts.astype("float64")
    return pd.Series(pd.array(numbers, dtype=pd.ArrowDtype(pa.int64())), texts.index)


def _frame_tables(
    frames: Iterable[Frame], columns: WantedColumns
) -> Iterator[tuple[str, pa.Table]]:
    for number, frame in enumerate(frames):
        source = f"frame {number}"
        frame = as_frame(frame, f"prepare: {source}", "an iterable of frames, or paths")
        yield source, _as_table(frame[columns.among(frame.columns)], source)


def as_table(frame: pd.DataFrame, who: str) -> pa.Table:
    """The columns of a frame; a ValueError that names `who` and one that Arrow lacks."""
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError):
        # Column by column, which knows more kinds, and names the one that is none.
        expected = "integers, numbers, strings or times of one type"
        found = {n: as_arrow(frame[n], expected, f"{who}: column `{n}`") for n in frame.columns}
        return pa.table(found)


def _as_table(frame: pd.DataFrame, source: str) -> pa.Table:
    table = decoded(as_table(frame, f"prepare: {source}"))
    for i, name in enumerate(table.column_names):
        # Without any value the type is not known, and must not contradict that of other chunks.
        if table[name].null_count == len(table):
            table = table.set_column(i, name, pa.nulls(len(table)))
    return table
