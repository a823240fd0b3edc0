"""Files that `prepare` writes whole and with checksums, and the words of its errors."""

import bisect
import itertools
import os
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet._base import whole_files

_WORDS = (
    "prepare: can't write {path}: {error}. What is finished is kept: make room, or the folder "
    "writable, and call prepare again with the same arguments."
)
# What a Parquet file begins and ends with.
_MARK = b"PAR1"


def whole_file(path: Path) -> AbstractContextManager[Path]:
    """A name to write to, which becomes `path` if all went well."""
    return whole_files.whole_file(path, _WORDS)


def new_folder(path: Path) -> None:
    """Makes a folder, unless it is there, and its parents."""
    with whole_files.explained(path, _WORDS):
        path.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes JSON with a checksum as a whole file."""
    whole_files.write_json(path, value, _WORDS, checked=True)


def read_json(path: Path, what: str) -> Any:
    """Reads what `write_json` wrote; if it is missing or damaged, a ValueError that begins so."""
    words = f"{what}: {{path}} can't be read: {{error}}. Copy it again, or write it again."
    return whole_files.read_json(path, words, checked=True)


def read_state(path: Path, who: str, known: int) -> Any:
    """As `read_json`, of the one format that is known."""
    state = read_json(path, who)
    if state.get("format") != known:
        raise ValueError(
            f"{who}: {path.parent} has format {state.get('format')!r}; expected {known}. Save it "
            "again with this version."
        )
    return state


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a file to write; when it is closed, `parquet_checksums` is to be kept."""
    return pq.ParquetWriter(str(path), schema, compression="zstd")


def check_replaceable(path: Path, who: str, file: str, overwrite: bool) -> None:
    """A FileExistsError unless `path` is free, or a folder that has the file and may go."""
    is_saved = (path / file).is_file()
    if path.exists() and not (overwrite and is_saved):
        hint = ", or pass overwrite=True to replace it" if is_saved else ""
        raise FileExistsError(f"{who}: {path} exists. Choose another folder{hint}.")


def write_parquet(path: Path, table: pa.Table) -> str:
    """Writes a table; its checksums."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)
    return parquet_checksums(path)


def parquet_checksums(path: Path) -> str:
    """Checksums of a Parquet file's footer and of each piece before it, 8 digits each.

    A piece is a column of a row group. Parquet's own checksums leave out the pages' headers.

    Raises:
        ValueError: The file is no Parquet file, or cut short.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        footer = _footer(file)
        metadata = pq.read_metadata(pa.BufferReader(footer))
        groups = (_pieces(metadata, group) for group in range(metadata.num_row_groups))
        parts = (_read(file, *piece) for group in groups for piece in group)
        return "".join(f"{zlib.crc32(part):08x}" for part in itertools.chain([footer], parts))


def read_parquet(path: Path, checksums: str, who: str) -> pa.Table:
    """A whole Parquet file; a ValueError that begins with `who` where it is missing or damaged."""
    try:
        with CheckedParquet(path, checksums) as file:
            return file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{who}: {path} can't be read: {error}") from error


class CheckedParquet:
    """A Parquet file to read, each piece of which is compared with its checksum before.

    Args:
        path: The file.
        checksums: `parquet_checksums` of it when it was written.

    Raises:
        ValueError: The file is damaged or cut short; `read` finds it as well.
        OSError: It can't be read.
    """

    def __init__(self, path: Path, checksums: str) -> None:
        self._file, self._checksums = path.open("rb"), checksums
        try:
            footer = _footer(self._file)
            if f"{zlib.crc32(footer):08x}" != checksums[:8]:
                raise ValueError("its footer has another checksum than when it was written")
            self.metadata: pq.FileMetaData = pq.read_metadata(pa.BufferReader(footer))
            self._pieces = _CheckedPieces(self._file)
            self._parquet: Any = pq.ParquetFile(
                pa.PythonFile(self._pieces, "r"), metadata=self.metadata, pre_buffer=False
            )
            self.schema: pa.Schema = self._parquet.schema_arrow
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "CheckedParquet":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, columns: list[str] | None = None, group: int | None = None) -> pa.Table:
        """Columns of a row group; by default all, of all row groups."""
        filled: list[int] = []
        pieces: list[tuple[int, int, str]] = []
        for number in range(self.metadata.num_row_groups) if group is None else [group]:
            first = 8 + 8 * number * self.metadata.num_columns
            found = _pieces(self.metadata, number, self._checksums[first:])
            if self.metadata.row_group(number).num_rows:
                filled.append(number)
                pieces += found
            else:
                # Arrow reads elsewhere then.
                for piece in found:
                    _read(self._file, *piece)
        self._pieces.expected, self._pieces.held = pieces, -1
        return self._parquet.read_row_groups(filled, columns, use_threads=group is None)


class _CheckedPieces:
    """An open file for Arrow, which may read within the expected pieces alone."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self.expected: list[tuple[int, int, str]] = []
        # Number of the piece whose bytes are in memory.
        self.held = -1

    def read(self, size: int) -> memoryview:
        """Bytes within one piece, which is read as a whole."""
        at = self.tell()
        number = bisect.bisect_right(self.expected, at, key=lambda piece: piece[0]) - 1
        start, end, _ = self.expected[number] if number >= 0 else (0, 0, "")
        if at + size > end:
            raise ValueError(f"its bytes {at} to {at + size} are no column of the row group")
        if number != self.held:
            self._bytes, self.held = memoryview(_read(self._file, *self.expected[number])), number
        self.seek(at + size)
        return self._bytes[at - start : at - start + size]


def _footer(file: BinaryIO) -> bytes:
    """A Parquet file's footer, after the mark that each file begins with."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(4), "little") + 8
    if file.read() != _MARK or length > size - len(_MARK):
        raise ValueError("it has no footer")
    if _read(file, 0, len(_MARK)) != _MARK:
        raise ValueError(f"it does not begin with {_MARK.decode()}")
    return _MARK + _read(file, size - length, size)


def _pieces(
    metadata: pq.FileMetaData, group: int, checksums: str = ""
) -> list[tuple[int, int, str]]:
    """Where each column of a row group starts and ends, and its checksum."""
    pieces: list[tuple[int, int, str]] = []
    of_group: Any = metadata.row_group(group)
    for i in range(metadata.num_columns):
        column = of_group.column(i)
        start = column.dictionary_page_offset or column.data_page_offset
        checksum = checksums[8 * i : 8 * i + 8]
        pieces.append((start, start + column.total_compressed_size, checksum))
    return pieces


def _read(file: BinaryIO, start: int, end: int, checksum: str = "") -> bytes:
    """Bytes of a file, compared with their checksum unless it is empty."""
    file.seek(start)
    found = file.read(end - start)
    if checksum and f"{zlib.crc32(found):08x}" != checksum:
        raise ValueError(
            f"its bytes {start} to {end} have another checksum than when they were written"
        )
    return found
