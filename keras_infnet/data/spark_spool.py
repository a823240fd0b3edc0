"""The rows of a source, read by Spark and written by user."""

import functools
import hashlib
import itertools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet.data.packed_rows import (
    BLOCK,
    CHUNK,
    FILE,
    PACKED_IN_SPARK,
    Packing,
    columns_of,
)
from keras_infnet.data.prepare_plan import PreparePlan
from keras_infnet.data.prepare_steps import spool_folder, wanted_columns
from keras_infnet.data.row_partitions import unify
from keras_infnet.data.row_source import (
    RowSource,
    file_columns,
    is_parquet,
    list_files,
    read_chunks,
)
from keras_infnet.data.spark_session import is_spark_frame
from keras_infnet.data.whole_files import whole_file

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
