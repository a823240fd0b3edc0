"""Rows as Spark carries them: chunks of Arrow data, each cut by partition of users.

Spark sees whole chunks as bytes, so that every value and type arrives as it was read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.data.row_partitions import NUMBER, checksum, cut_by_user
from keras_infnet.data.row_source import (
    WantedColumns,
    decoded,
    read_csv_text,
    to_frame,
)

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
