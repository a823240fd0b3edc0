"""Rows on disk by user: each chunk one file, in it one record batch for each partition."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.data.row_partitions import NUMBER, checksum, cut_by_user, unify
from keras_infnet.data.row_source import to_frame
from keras_infnet.data.whole_files import whole_file

_CHECKSUM = "checksum"


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
