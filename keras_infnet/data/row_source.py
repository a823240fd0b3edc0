"""Rows in chunks: a frame, an iterator of frames, Parquet or CSV files."""

import glob
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.paths import local_path
from keras_infnet.data.whole_files import open_parquet
from keras_infnet.schema.schema import FeatureSchema

# A pandas frame, or what gives its rows as an Arrow stream: frames of Polars, tables of Arrow.
Frame = Any
RowSource = Frame | Iterable[Frame] | str | Path | Sequence[str | Path]

_PARQUET, _CSV = (".parquet", ".pq"), (".csv", ".csv.gz")
_SAMPLE_BYTES = 1 << 20
_STORES = (
    "Copy the files here, give frames (`pandas.read_parquet` reads them), or with engine='spark' "
    "a Spark DataFrame."
)


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
        text: Columns that are text even where every value looks like a number.
        ids: Columns of ids whose dtype is read from the log.
    """

    required: frozenset[str]
    wanted: frozenset[str]
    text: frozenset[str]
    ids: frozenset[str]

    @classmethod
    def of(cls, schema: FeatureSchema, more: Collection[str] = ()) -> "WantedColumns":
        """Columns of a schema's features, histories, tasks and keys, and some more."""
        required = {*schema.log_columns(), *more}
        events = {c for h in schema.histories for c in (*h.log_columns, *h.list_columns)}
        text = {f.name for f in schema.features if f.is_text}
        ids = {f.name for f in schema.features if f.has_dtype}
        ids = {name for name in ids if schema.declared_dtype(name) is None}
        wanted = frozenset(required | events)
        return cls(frozenset(required), wanted, frozenset(text), frozenset(ids))

    def among(self, names: Iterable[str]) -> list[str]:
        """Of a table's columns, those to read."""
        names = list(names)
        if not self.required <= set(names):
            return names
        return [name for name in names if name in self.wanted]


def as_frame(rows: Frame, who: str, other: str = "") -> pd.DataFrame:
    """The rows as a pandas frame; those of Polars or Arrow are numbered from 0.

    Args:
        rows: A pandas frame, or anything with an Arrow stream.
        who: Who asks, for the error message.
        other: What else would do, for the error message.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(rows, pd.DataFrame):
        return rows
    if not _is_frame(rows):
        raise ValueError(
            f"{who}: found {type(rows).__name__}; expected a pandas DataFrame, a Polars or Arrow "
            f"table{f', {other}' if other else ''}."
        )
    table = decoded(pa.table(rows))
    return to_frame(table, np.arange(len(table)))


def _is_frame(rows: Any) -> bool:
    return isinstance(rows, pd.DataFrame) or hasattr(rows, "__arrow_c_stream__")


def list_files(rows: Any) -> list[Path] | None:
    """The files of a folder, a glob or a list; `None` where the rows are frames.

    Raises:
        ValueError: There is no such file, or it is neither Parquet nor CSV.
    """
    is_path = issubclass(type(rows), (str, Path))
    if not is_path and not issubclass(type(rows), (list, tuple)):
        return None
    given: list[Any] = [rows] if is_path else list(rows)
    if given and _is_frame(given[0]):
        return None
    paths = [local_path(path, "prepare", "rows", _STORES) for path in given]
    files = [file for path in paths for file in _expand(path)]
    if not files:
        raise ValueError(f"prepare: no Parquet or CSV file in {_shown(given)}.")
    for file in files:
        if not file.name.lower().endswith((*_PARQUET, *_CSV)):
            raise ValueError(f"prepare: {file} is neither .parquet nor .csv nor .csv.gz.")
        if file.stat().st_size == 0:
            raise ValueError(f"prepare: {file} is empty. Write it again, or take it away.")
    return files


def count_rows(rows: RowSource) -> int | None:
    """Number of rows: exact for frames and Parquet, estimated for CSV, `None` for an iterator."""
    if _is_frame(rows):
        return getattr(rows, "__len__", lambda: None)()
    files = list_files(rows)
    return None if files is None else sum(_count_file(file) for file in files)


def describe(rows: RowSource) -> Any:
    """What tells whether rows are still the same when a preparation goes on."""
    files = list_files(rows)
    if files is None:
        return count_rows(rows) or type(rows).__name__
    return [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in files]


def read_chunks(
    rows: Any, columns: WantedColumns, chunk_rows: int
) -> Iterator[tuple[Place, pa.Table]]:
    """Tables of at most `chunk_rows` rows, each with where it comes from.

    Raises:
        ValueError: A file can't be read, a chunk is no frame, or there is no row at all.
    """
    files, first = list_files(rows), 0
    if files is None:
        tables = _frame_tables([rows] if _is_frame(rows) else rows, columns)
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


def file_parts(files: Sequence[Path], chunk_rows: int) -> list[tuple[Path, list[int] | None]]:
    """Parts of files that can be read side by side: some row groups, of CSV the whole file."""
    parts: list[tuple[Path, list[int] | None]] = []
    for file in files:
        if not _is_parquet(file):
            parts.append((file, None))
            continue
        with _open_parquet(file) as opened:
            groups = [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]
        of_part = (np.cumsum(groups) - groups) // chunk_rows
        parts += [(file, np.flatnonzero(of_part == part).tolist()) for part in np.unique(of_part)]
    return parts


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        files = (f for f in path.iterdir() if not f.name.startswith((".", "_")))
        return sorted(f for f in files if f.name.lower().endswith((*_PARQUET, *_CSV)))
    if path.exists():
        return [path]
    found = sorted(map(Path, glob.glob(str(path))))
    if not found:
        raise ValueError(f"prepare: no Parquet or CSV file {path}; expected files or a folder.")
    return found


def _shown(given: list[Any]) -> str:
    return ", ".join(map(str, given[:3])) or "an empty list"


def _count_file(file: Path) -> int:
    if _is_parquet(file):
        return _open_parquet(file).metadata.num_rows
    with file.open("rb") as opened:
        sample = opened.read(_SAMPLE_BYTES)
    # A compressed line is about a quarter of its text.
    lines = max(1, sample.count(b"\n")) if not file.name.lower().endswith(".gz") else 40_000
    return int(file.stat().st_size * lines / len(sample))


def _is_parquet(file: Path) -> bool:
    """Whether the name is a Parquet file's; if not, it is CSV."""
    return file.name.lower().endswith(_PARQUET)


def _open_parquet(file: Path) -> Any:
    """Opens a file; a damaged one is a ValueError."""
    try:
        return open_parquet(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"prepare: {file} can't be read as Parquet ({error}). It is cut short or damaged: "
            "write it again."
        ) from error


def read_file(
    file: Path, columns: WantedColumns, chunk_rows: int, groups: list[int] | None = None
) -> Iterator[pa.Table]:
    """Tables of at most `chunk_rows` rows of a file, or of some row groups of a Parquet file."""
    if _is_parquet(file):
        with _open_parquet(file) as opened:
            names = columns.among(opened.schema_arrow.names)
            try:
                for batch in opened.iter_batches(chunk_rows, row_groups=groups, columns=names):
                    yield decoded(pa.Table.from_batches([batch]))
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"prepare: {file} can't be read. It is cut short or damaged: write it again "
                    f"({error})."
                ) from error
        return
    try:
        names = columns.among(pd.read_csv(file, nrows=0).columns)
        text = {name: "str" for name in names if name in columns.text | columns.ids}
        with pd.read_csv(file, usecols=names, dtype=text, chunksize=chunk_rows) as frames:
            for frame in frames:
                for name in columns.ids.intersection(names):
                    frame[name] = _as_written(frame[name])
                yield _as_table(frame[names], str(file))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"prepare: {file} can't be read as CSV: {error}") from error


def _as_written(texts: pd.Series) -> pd.Series:
    """Integers if all are written so, `7` or the `7.0` of a column with gaps; `07` is text."""
    whole = texts.str.removesuffix(".0")
    if whole.dropna().str.fullmatch(r"-?(0|[1-9]\d{0,17})").all():
        return whole.astype("Int64")
    return texts


def _frame_tables(
    frames: Iterable[Frame], columns: WantedColumns
) -> Iterator[tuple[str, pa.Table]]:
    for number, frame in enumerate(frames):
        source = f"frame {number}"
        frame = as_frame(frame, f"prepare: {source}", "an iterable of frames, or paths")
        yield source, _as_table(frame[columns.among(frame.columns)], source)


def _as_table(frame: pd.DataFrame, source: str) -> pa.Table:
    try:
        return decoded(pa.Table.from_pandas(frame, preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"prepare: {source}: {' '.join(map(str, error.args))}.") from error


def decoded(table: pa.Table) -> pa.Table:
    """Columns of plain types: dictionaries of two chunks need not agree."""
    for i, field in enumerate(table.schema):
        values, kind = table[i], _without_views(field.type)
        values = values if kind == field.type else values.cast(kind)
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
        if values.type != field.type:
            table = table.set_column(i, field.name, values)
    return table.replace_schema_metadata(None)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """Polars has strings of a kind that many functions of Arrow lack."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_without_views(kind.value_type))
    return kind


def to_frame(table: pa.Table, index: np.ndarray) -> pd.DataFrame:
    """A frame as pandas reads it, but with lists and whole numbers with gaps kept as they are."""
    kept = {
        field.name: pd.array(table[field.name], dtype=pd.ArrowDtype(field.type))
        for field in table.schema
        if pa.types.is_list(field.type)
        or pa.types.is_large_list(field.type)
        or (pa.types.is_integer(field.type) and table[field.name].null_count)
    }
    frame = table.drop_columns(list(kept)).to_pandas().set_axis(index)
    return frame.assign(**kept)[table.column_names]
