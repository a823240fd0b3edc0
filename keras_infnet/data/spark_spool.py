"""Rows of a source, read by Spark and written by user, as packed chunks of Arrow data.

Spark sees whole chunks as bytes, so that every value and type arrives as it was read.
"""

import functools
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet.data.prepare_steps import PreparePlan, spool_folder, wanted_columns
from keras_infnet.data.row_source import (
    RowSource,
    WantedColumns,
    decoded,
    file_columns,
    is_parquet,
    list_files,
    read_chunks,
    read_csv_text,
    to_frame,
)
from keras_infnet.data.spool import NUMBER, checksum, cut_by_user, unify
from keras_infnet.data.whole_files import whole_file

# Where Spark's reader found a row: its file, and the part of the file that one task reads.
FILE, BLOCK = "#file", "#block"
# What tells a chunk from all others of its source.
CHUNK = ["file", "block", "chunk"]
PACKED = pa.schema(
    {
        "partition": pa.int32(),
        "file": pa.string(),
        "block": pa.int64(),
        "chunk": pa.int64(),
        "rows": pa.int64(),
        "checksum": pa.string(),
        "columns": pa.binary(),
        "data": pa.binary(),
    }
)
PACKED_IN_SPARK = (
    "partition int, file string, block long, chunk long, rows long, checksum string, "
    "columns binary, data binary"
)


# CSV as pandas reads it; what becomes of the text is for pandas to say.
_CSV = {
    "header": True,
    "inferSchema": False,
    "enforceSchema": False,
    "multiLine": True,
    "escape": '"',
    "mode": "FAILFAST",
}


@dataclass(frozen=True)
class Packing:
    """How rows are packed.

    Args:
        user_key: Column that tells users apart.
        partitions: Number of partitions of users.
        chunk_rows: Most rows of a chunk.
        columns: The columns that are wanted.
        text: Whether all values come as text, as CSV has them.
    """

    user_key: str
    partitions: int
    chunk_rows: int
    columns: WantedColumns
    text: bool = False

    def of_text(self, text: bool) -> "Packing":
        """The same for values that come as text, or not."""
        return replace(self, text=text)

    def pack_table(self, table: pa.Table, file: str, block: int, chunk: int) -> pa.RecordBatch:
        """One chunk: a row for each partition of which it has rows.

        Raises:
            ValueError: The user column is missing, or a row has no user.
        """
        parts = cut_by_user(table, self.user_key, self.partitions, file, 0)
        found = {number: part for number, part in enumerate(parts) if part.num_rows}
        of_chunk = {
            "file": file,
            "block": block,
            "chunk": chunk,
            "rows": len(table),
            "checksum": checksum(table),
            "columns": parts[0].schema.serialize().to_pybytes(),
        }
        data = [part.serialize().to_pybytes() for part in found.values()]
        values = {"partition": list(found), "data": data}
        values |= {name: [value] * len(found) for name, value in of_chunk.items()}
        return pa.record_batch([pa.array(values[f.name], f.type) for f in PACKED], schema=PACKED)

    def pack_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What one task reads: columns of rows, and `#file` and `#block`."""
        first = 0
        for table in self._chunks(batches):
            place, block = _place(table)
            file = unquote(urlparse(place).path)
            rows = table.drop_columns([FILE, BLOCK])
            if self.text:
                rows = read_csv_text(rows, self.columns, file)
            yield self.pack_table(decoded(rows), file, block, first)
            first += len(table)

    def _chunks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        """Runs of rows of one file and block, cut into chunks."""
        waiting: list[pa.Table] = []
        for batch in batches:
            table = pa.Table.from_batches([batch])
            for run in _runs(table):
                if waiting and _place(waiting[0]) != _place(run):
                    yield pa.concat_tables(waiting)
                    waiting = []
                waiting.append(run)
                while sum(map(len, waiting)) >= self.chunk_rows:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, self.chunk_rows)
                    rest = whole.slice(self.chunk_rows)
                    waiting = [rest] if len(rest) else []
        if waiting:
            yield pa.concat_tables(waiting)


def unpack(packed: pd.DataFrame, firsts: Mapping[Any, int], columns: pa.Schema) -> pd.DataFrame:
    """The rows of packed chunks, by their number in the log, which is the index.

    Args:
        packed: Rows of `PACKED`.
        firsts: Number of the first row of each chunk.
        columns: All columns, with the types of all chunks together.
    """
    places = packed[CHUNK].itertuples(index=False, name=None)
    found = [
        (firsts[place], _read(schema, data))
        for place, schema, data in zip(places, packed["columns"], packed["data"], strict=True)
    ]
    found.sort(key=lambda part: part[0])
    numbers = [first + table[NUMBER].to_numpy() for first, table in found]
    tables = [columns.empty_table(), *(table.drop_columns(NUMBER) for _, table in found)]
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    return to_frame(table, np.concatenate([np.zeros(0, "int64"), *numbers]))


def columns_of(packed: bytes) -> pa.Schema:
    """The columns of a packed chunk."""
    schema = pa.ipc.read_schema(pa.py_buffer(packed))
    return schema.remove(schema.get_field_index(NUMBER))


def _read(schema: bytes, data: bytes) -> pa.Table:
    columns = pa.ipc.read_schema(pa.py_buffer(schema))
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(data), columns)])


def _place(table: pa.Table) -> tuple[Any, Any]:
    return table[FILE][0].as_py(), table[BLOCK][0].as_py()


def _runs(table: pa.Table) -> Iterator[pa.Table]:
    """Rows of one file and block after the other."""
    codes = [table[name].combine_chunks().dictionary_encode().indices for name in (FILE, BLOCK)]
    changed = np.any([np.diff(np.asarray(code)) != 0 for code in codes], axis=0)
    bounds = [0, *(np.flatnonzero(changed) + 1), len(table)]
    for start, end in zip(bounds, bounds[1:], strict=False):
        if end > start:
            yield table.slice(start, end - start)


@dataclass(frozen=True)
class SparkSpool:
    """What lies in a folder of packed chunks.

    Attributes:
        name: Name of the source.
        uri: The folder, as Spark has it.
        rows: Number of rows.
        firsts: Number of the first row of each chunk, by file, block and chunk.
        columns: All columns, with the types of all chunks together.
        digest: Checksum of all rows.
    """

    name: str
    uri: str
    rows: int
    firsts: Mapping[tuple[str, int, int], int]
    columns: pa.Schema
    digest: str

    def source(self, place: tuple[str, int, int], rows: int) -> str:
        """Where the rows of a chunk come from, in words."""
        return _source(place[0], self.firsts[place], rows)


def write_spool(session: Any, work: Path, plan: PreparePlan, name: str, rows: RowSource) -> None:
    """Reads a source and writes its chunks by user.

    Raises:
        ValueError: A file can't be read, or a row has no user.
    """
    columns, folder = wanted_columns(plan, name), spool_folder(work, name)
    key, uri = plan.schema.user_key, local_uri(folder)
    packing = Packing(key, plan.partitions, plan.chunk_rows, columns)
    shutil.rmtree(folder, ignore_errors=True)
    if is_spark_frame(rows):
        names = [f"`{name}`" for name in columns.among(rows.columns)]
        place = f"'Spark DataFrame' AS `{FILE}`", f"CAST(spark_partition_id() AS LONG) AS `{BLOCK}`"
        _pack(packing, rows.selectExpr(*names, *place)).write.parquet(uri)
    elif files := list_files(rows):
        parts = [
            _pack(packing.of_text(text), _read_files(session, group, packing, text))
            for text, group in _alike(files)
        ]
        functools.reduce(lambda a, b: a.union(b), parts).write.parquet(uri)
    else:
        for number, (source, table) in enumerate(read_chunks(rows, columns, plan.chunk_rows)):
            packed = packing.pack_table(table, source.rsplit(", rows ", 1)[0], number, 0)
            with whole_file(folder / f"chunk-{number:06d}.parquet") as temporary:
                pq.write_table(pa.Table.from_batches([packed]), temporary)


def list_spool(session: Any, work: Path, name: str, rows: RowSource) -> SparkSpool:
    """What `write_spool` wrote.

    Raises:
        ValueError: There is no row, or chunks differ in columns or types.
    """
    uri = local_uri(spool_folder(work, name))
    order = {str(_absolute(f)): i for i, f in enumerate(list_files(rows) or [])}
    chunks = session.read.parquet(uri).select(*CHUNK, "rows", "checksum", "columns")
    chunks = sorted(
        chunks.distinct().collect(), key=lambda c: (order.get(c.file, 0), c.block, c.chunk)
    )
    if not chunks:
        raise ValueError("prepare: there is no row; expected at least one.")
    ends = [0, *itertools.accumulate(c.rows for c in chunks)]
    firsts = {(c.file, c.block, c.chunk): end for c, end in zip(chunks, ends, strict=False)}
    columns = None
    for chunk, first in zip(chunks, ends, strict=False):
        source = _source(chunk.file, first, chunk.rows)
        columns = unify(columns, columns_of(bytes(chunk["columns"])), source)
    digest = hashlib.sha256(" ".join(c.checksum for c in chunks).encode()).hexdigest()[:16]
    return SparkSpool(name, uri, ends[-1], firsts, columns, digest)


def is_spark_frame(rows: Any) -> bool:
    """Whether rows are a DataFrame of Spark, of whichever kind of session."""
    return any(kind.__module__.startswith("pyspark.sql") for kind in type(rows).__mro__)


def local_uri(path: Path) -> str:
    """A path of the file system that driver and executors share, whatever Spark's default."""
    return f"file://{_absolute(path)}"


def _pack(packing: Packing, frame: Any) -> Any:
    return frame.mapInArrow(lambda batches: packing.pack_batches(batches), PACKED_IN_SPARK)


def _alike(files: list[Path]) -> list[tuple[bool, list[Path]]]:
    """Files in groups of the same kind and columns; Spark would fill what one lacks."""
    twice = sorted({str(f) for f in files if files.count(f) > 1})
    if twice:
        raise ValueError(f"prepare: {', '.join(twice)} is given twice.")
    groups: dict[Any, list[Path]] = {}
    for file in files:
        groups.setdefault((not is_parquet(file), file_columns(file)), []).append(file)
    return [(text, group) for (text, _), group in groups.items()]


def _read_files(session: Any, files: list[Path], packing: Packing, text: bool) -> Any:
    uris = [local_uri(file) for file in files]
    frame = session.read.csv(uris, **_CSV) if text else session.read.parquet(*uris)
    names = [f"`{name}`" for name in packing.columns.among(frame.columns)]
    place = f"_metadata.file_path AS `{FILE}`", f"_metadata.file_block_start AS `{BLOCK}`"
    return frame.selectExpr(*names, *place)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _source(file: str, first: int, rows: int) -> str:
    return f"{file}, rows {first} to {first + rows - 1}"
