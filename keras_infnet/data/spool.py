"""Rows on disk by user or other keys: chunks cut into partitions, and what chunks must agree in."""

import hashlib
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.data.row_source import Place
from keras_infnet.data.whole_files import whole_file
from keras_infnet.schema.canonical import missing_id, user_ids
from keras_infnet.schema.frames import below_another, to_frame

_CHECKSUM, _SOURCE = "checksum", "source"
# Column of a row's number in its chunk.
_NUMBER = "#row"


@dataclass(frozen=True)
class Chunk:
    """A chunk of rows on disk.

    Attributes:
        path: Its file.
        place: Where its rows come from, and which rows of the source they are.
        checksum: Number of rows and checksum.
        columns: Its columns.
    """

    path: Path
    place: Place
    checksum: str
    columns: pa.Schema


@dataclass(frozen=True)
class Spool:
    """Chunks of rows, hashed by user, so that a partition holds its users wholly.

    Args:
        folder: Where the chunks lie.
        partitions: Number of partitions.
        keys: Columns that tell users apart; or other keys, such as those of a rate.
        label: What errors call a key.
    """

    folder: Path
    partitions: int
    keys: tuple[str, ...]
    label: str = "user key"

    def write(self, chunk: str, table: pa.Table, source: str) -> bool:
        """Writes a chunk, unless an earlier run wrote it; tells whether it was written.

        Args:
            chunk: Its name; chunks come in the order of their names.
            table: Its rows.
            source: Where they come from.

        Raises:
            ValueError: The user column is missing, or holds what can't tell users apart.
        """
        path, found = self._path(chunk), _checksum(table)
        if path.exists() and _metadata(path)[0] == found:
            return False
        parts = self._cut(table)
        schema = parts[0].schema.with_metadata({_CHECKSUM: found, _SOURCE: source})
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            whole_file(path) as temporary,
            pa.ipc.new_file(str(temporary), schema, options=options) as file,
        ):
            for part in parts:
                file.write_batch(part.replace_schema_metadata(schema.metadata))
        return True

    def keep(self, chunks: set[str]) -> None:
        """Takes away all other chunks, of an earlier run that had more rows."""
        for path in set(self.folder.glob("*.arrow")) - set(map(self._path, chunks)):
            path.unlink()

    def chunks(self) -> list[Chunk]:
        """All chunks in their order."""
        chunks: list[Chunk] = []
        first = 0
        for path in sorted(self.folder.glob("*.arrow")):
            checksum, source, columns = _metadata(path)
            place = Place(source, first, _rows(checksum))
            chunks.append(Chunk(path, place, checksum, columns))
            first += place.rows
        return chunks

    def digest(self) -> str:
        """Checksum of all rows."""
        sums = " ".join(chunk.checksum for chunk in self.chunks())
        return hashlib.sha256(sums.encode()).hexdigest()[:16]

    def partition(self, number: int) -> pd.DataFrame:
        """The rows of one partition in the order in which they came; the index is their number."""
        return self._read(sorted(self.folder.glob("*.arrow")), [number], 0)

    def rows_of(self, chunk: Chunk) -> pd.DataFrame:
        """The rows of one chunk, partition by partition; the index is their number."""
        return self._read([chunk.path], range(self.partitions), chunk.place.first)

    def _read(self, paths: Sequence[Path], partitions: Sequence[int], first: int) -> pd.DataFrame:
        tables: list[pa.Table] = []
        numbers: list[np.ndarray] = []
        for path in paths:
            with pa.memory_map(str(path)) as opened, pa.ipc.open_file(opened) as file:
                table = pa.Table.from_batches([file.get_batch(part) for part in partitions])
            numbers.append(first + np.asarray(table[_NUMBER]))
            first += _rows(table.schema.metadata[_CHECKSUM.encode()].decode())
            tables.append(table.drop_columns(_NUMBER).replace_schema_metadata(None))
        return to_frame(below_another(tables), np.concatenate(numbers))

    def _path(self, chunk: str) -> Path:
        return self.folder / f"chunk-{chunk}.arrow"

    def _cut(self, table: pa.Table) -> list[pa.RecordBatch]:
        """The rows of each partition in their order, with their numbers."""
        parts = self._partition_of(table)
        order = np.argsort(parts, kind="stable")
        table = table.append_column(_NUMBER, pa.array(np.arange(len(table))))
        (rows,) = table.take(pa.array(order)).combine_chunks().to_batches()
        bounds = np.searchsorted(parts[order], np.arange(self.partitions + 1)).tolist()
        return [rows.slice(start, end - start) for start, end in itertools.pairwise(bounds)]

    def _partition_of(self, table: pa.Table) -> np.ndarray:
        hashed, nobody = np.zeros(len(table), "uint64"), np.zeros(len(table), bool)
        for key in self.keys:
            check_known(key, table.column_names, f"no column `{key}`.")
            values = to_frame(table.select([key]), np.arange(len(table)))[key]
            ids, dtype = user_ids(values, f"{self.label} `{key}`")
            plain = ids.to_numpy("int64" if dtype != "string" else object)
            hashed = 31 * hashed + pd.util.hash_array(plain)
            nobody |= np.asarray(ids == missing_id(dtype or "int"))
        # Rows of nobody need not lie together, and may be too many to.
        hashed = np.where(nobody, np.arange(len(hashed), dtype="uint64"), hashed)
        return (hashed % self.partitions).astype("int64")


def unify(known: pa.Schema | None, schema: pa.Schema) -> pa.Schema:
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
            f"other columns than the rows before (missing: {missing}, more: {more}). Files of one "
            "log must have the same columns."
        )
    for name in schema.names:
        kinds = [s.field(name) for s in (known, schema)]
        try:
            pa.unify_schemas([pa.schema([k]) for k in kinds], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise ValueError(
                f"column `{name}` holds {kinds[1].type}, but {kinds[0].type} in the rows before. "
                "Give all files of a log the same types; of CSV, declare its feature with "
                'dtype="string".'
            ) from error
    return pa.unify_schemas([known, schema], promote_options="permissive")


def _checksum(table: pa.Table) -> str:
    """Number of rows and checksum of a chunk."""
    value = zlib.crc32(str(table.schema).encode())
    for batch in table.combine_chunks().to_batches():
        value = zlib.crc32(batch.serialize(), value)
    return f"{len(table)}-{value:08x}"


def _rows(checksum: str) -> int:
    return int(checksum.partition("-")[0])


def _metadata(path: Path) -> tuple[str, str, pa.Schema]:
    """Checksum, source and columns of a chunk."""
    with pa.memory_map(str(path)) as opened, pa.ipc.open_file(opened) as file:
        schema = file.schema
    found = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    columns = schema.remove(schema.get_field_index(_NUMBER)).remove_metadata()
    return found[_CHECKSUM], found[_SOURCE], columns
