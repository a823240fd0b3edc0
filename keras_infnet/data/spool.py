"""Rows on disk by user: chunks cut into partitions, checksums, and what chunks must agree in."""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.data.row_source import to_frame
from keras_infnet.data.whole_files import whole_file

_CHECKSUM = "checksum"
# Column of a row's number.
NUMBER = "#row"


def cut_by_user(
    table: pa.Table, user_key: str, partitions: int, source: str, first: int
) -> list[pa.RecordBatch]:
    """The rows of each partition in their order, with their number, of which `first` is the first.

    Raises:
        ValueError: The user column is missing, or a row has no user.
    """
    parts = _partition_of(table, user_key, partitions, source)
    order = np.argsort(parts, kind="stable")
    rows = pa.array(np.arange(first, first + len(table)))
    table = table.append_column(NUMBER, rows).take(pa.array(order)).combine_chunks()
    ends = np.searchsorted(parts[order], np.arange(partitions), side="right")
    batches = []
    for start, end in zip((0, *ends[:-1]), ends, strict=True):
        found = table.slice(start, end - start).to_batches()
        batches.append(found[0] if found else _no_rows(table.schema))
    return batches


def unify(known: pa.Schema | None, schema: pa.Schema, source: str) -> pa.Schema:
    """The columns of the chunks so far and of one more.

    Raises:
        ValueError: The chunk has other columns, or types that can't be made one.
    """
    if known is None:
        return schema
    missing = sorted(set(known.names) - set(schema.names))
    more = sorted(set(schema.names) - set(known.names))
    if missing or more:
        raise ValueError(
            f"prepare: {source}: other columns than the rows before (missing: {missing}, more: "
            f"{more}). Files of one log must have the same columns."
        )
    for name in schema.names:
        kinds = [s.field(name) for s in (known, schema)]
        try:
            pa.unify_schemas([pa.schema([k]) for k in kinds], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise ValueError(
                f"prepare: {source}: column `{name}` holds {kinds[1].type}, but {kinds[0].type}"
                " in the rows before. Give all files of a log the same types."
            ) from error
    return pa.unify_schemas([known, schema], promote_options="permissive")


def checksum(table: pa.Table) -> str:
    """Number of rows and checksum of a chunk."""
    sink = _Checksum()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), table.schema) as stream:
        stream.write_table(table)
    return f"{len(table)}-{sink.value:08x}"


class _Checksum(io.RawIOBase):
    """A file that keeps no more than the checksum of what is written to it."""

    value = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.value = zlib.crc32(data, self.value)
        return len(data)


def _partition_of(table: pa.Table, key: str, partitions: int, source: str) -> np.ndarray:
    if key not in table.column_names:
        raise ValueError(
            f"prepare: {source}: no column `{key}`.{did_you_mean(key, table.column_names)}"
        )
    users = table[key]
    if users.null_count:
        raise ValueError(
            f"prepare: {source}: column `{key}` has {users.null_count} missing values; "
            "expected a user in every row."
        )
    values = users.to_numpy()
    if pa.types.is_floating(users.type) and (values == np.round(values)).all():
        values = values.astype("int64")
    if np.issubdtype(values.dtype, np.integer) or values.dtype == bool:
        values = values.astype("int64")
    return (pd.util.hash_array(values) % partitions).astype("int64")


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


class Spool:
    """Chunks of rows, hashed by user, so that a partition holds its users wholly.

    Args:
        folder: Where the chunks lie.
        partitions: Number of partitions.
        user_key: Column that tells users apart.
    """

    def __init__(self, folder: Path, partitions: int, user_key: str) -> None:
        self._folder, self._partitions, self._user_key = folder, partitions, user_key
        self._schema: pa.Schema | None = None
        self._rows: list[int] = []

    def add(self, table: pa.Table, source: str) -> bool:
        """Writes one more chunk, unless an earlier run wrote it; tells whether it was written.

        Raises:
            ValueError: The chunk has other columns or types than those before it, or a row has no
                user.
        """
        self._schema = unify(self._schema, table.schema, source)
        path, first, found = self._path(len(self._rows)), sum(self._rows), checksum(table)
        self._rows.append(len(table))
        if path.exists() and _checksum_of(path) == found:
            return False
        parts = cut_by_user(table, self._user_key, self._partitions, source, first)
        self._write(path, parts, found)
        return True

    def close(self) -> bool:
        """Takes away chunks of an earlier run that had more rows; tells whether there were any."""
        known = {self._path(chunk) for chunk in range(len(self._rows))}
        more = set(self._folder.glob("chunk-*.arrow")) - known
        for path in more:
            path.unlink()
        return bool(more)

    def partition(self, number: int) -> pd.DataFrame:
        """The rows of one partition in the order in which they came; the index is their number."""
        tables = []
        for path in sorted(self._folder.glob("chunk-*.arrow")):
            with pa.memory_map(str(path)) as opened, pa.ipc.open_file(opened) as file:
                table = pa.Table.from_batches([file.get_batch(number)])
                tables.append(table.replace_schema_metadata(None))
        table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        return to_frame(table.drop_columns(NUMBER), np.asarray(table[NUMBER]))

    def _path(self, chunk: int) -> Path:
        return self._folder / f"chunk-{chunk:06d}.arrow"

    def _write(self, path: Path, parts: Sequence[pa.RecordBatch], found: str) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        schema = parts[0].schema.with_metadata({_CHECKSUM: found})
        with (
            whole_file(path) as temporary,
            pa.ipc.new_file(str(temporary), schema, options=options) as file,
        ):
            for part in parts:
                file.write_batch(part.replace_schema_metadata(schema.metadata))


def _checksum_of(path: Path) -> str:
    with pa.memory_map(str(path)) as opened, pa.ipc.open_file(opened) as file:
        return file.schema.metadata[_CHECKSUM.encode()].decode()
