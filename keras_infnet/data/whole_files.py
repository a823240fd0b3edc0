"""Files that `prepare` writes whole and with checksums, and the words of its errors."""

import os
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from keras_infnet._base import whole_files

_WORDS = (
    "prepare: can't write {path}: {error}. What is finished is kept: make room, or the folder "
    "writable, and call prepare again with the same arguments."
)


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


def open_parquet(path: str | Path, filesystem: FileSystem | None = None) -> pq.ParquetFile:
    """Opens a file whose pages are compared with their checksums as they are read."""
    return pq.ParquetFile(path, page_checksum_verification=True, filesystem=filesystem)


def footer_checksum(path: Path) -> str:
    """Checksum of a Parquet file's footer, which the checksums of its pages leave out.

    Raises:
        ValueError: The file is no Parquet file, or cut short.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little") + 8
        if file.read() != b"PAR1" or length > size:
            raise ValueError("it has no footer")
        file.seek(size - length)
        return f"{zlib.crc32(file.read()):08x}"


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a file to write, of pages with checksums."""
    return pq.ParquetWriter(str(path), schema, compression="zstd", write_page_checksum=True)
