"""Parquet and CSV files of a log, on this machine or in a store that pyarrow or fsspec reads."""

import contextlib
import io
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs

from keras_infnet._base.paths import local_path, store_of
from keras_infnet.schema.frames import is_frame

_PARQUET, _CSV = (".parquet", ".pq"), (".csv", ".csv.gz")
# Stores that pyarrow reads by itself, where it was built with them.
_ARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_BUFFER = 1 << 20
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")


@dataclass(frozen=True)
class LogFile:
    """A file of a log.

    Args:
        address: As errors name it.
        filesystem: Where it lies.
        path: Its path there.
        size: Bytes.
        version: What changes with the file: nanoseconds of its last change, or what fsspec tells.
    """

    address: str
    filesystem: pafs.FileSystem
    path: str
    size: int
    version: int | str | None

    def __str__(self) -> str:
        return self.address

    @property
    def is_parquet(self) -> bool:
        """Whether the name is a Parquet file's; if not, it is CSV."""
        return self.path.lower().endswith(_PARQUET)

    @property
    def compression(self) -> Literal["gzip"] | None:
        """How a CSV file is compressed."""
        return "gzip" if self.path.lower().endswith(".gz") else None

    @property
    def remedy(self) -> str:
        """What to do where it can't be read."""
        advice = "It is cut short or damaged: write it again."
        if isinstance(self.filesystem, pafs.LocalFileSystem):
            return advice
        return f"{advice} Or its store was not reached: check, and call again."

    def open(self) -> io.BufferedReader:
        """Its bytes; from a store in pieces that are worth a request."""
        opened: Any = self.filesystem.open_input_file(self.path)
        return io.BufferedReader(opened, _BUFFER)


def list_files(rows: Any) -> list[LogFile] | None:
    """The files of a folder, a glob or a list; `None` where the rows are frames.

    Raises:
        ValueError: There is no such file, it is neither Parquet nor CSV, or a store can't be read.
        ImportError: A package that reads the store is not installed.
    """
    is_path = issubclass(type(rows), (str, Path))
    if not is_path and not issubclass(type(rows), (list, tuple)):
        return None
    given: list[Any] = [rows] if is_path else list(rows)
    if given and is_frame(given[0]):
        return None
    files = [file for path in given for file in _expand(path)]
    if not files:
        shown = ", ".join(map(_shown, given[:3])) or "an empty list"
        raise ValueError(f"prepare: no Parquet or CSV file in {shown}.")
    for file in files:
        if not file.path.lower().endswith((*_PARQUET, *_CSV)):
            raise ValueError(f"prepare: {file} is neither .parquet nor .csv nor .csv.gz.")
        if file.size == 0:
            raise ValueError(f"prepare: {file} is empty. Write it again, or take it away.")
    return files


def _expand(given: Any) -> list[LogFile]:
    scheme = store_of(given)
    if scheme is None:
        local = local_path(given, "prepare", "rows")
        return _found(pafs.LocalFileSystem(), local.absolute().as_posix(), local.as_posix())
    try:
        return _found(*_open_store(scheme, str(given).rstrip("/")))
    except (OSError, pa.ArrowException) as error:
        why, *_ = _shown(error).split("\n")
        raise ValueError(
            f"prepare: rows is {_shown(given)!r}, and the store can't be read: {why}. Check "
            "address and credentials, or copy the files to a local folder first."
        ) from error


def _open_store(scheme: str, address: str) -> tuple[pafs.FileSystem, str, str]:
    """A store, the path of an address there, and the address without options."""
    if "://" not in address:
        raise ValueError(
            f"prepare: rows is {address!r}; expected `{scheme}://...`. Give it as text: a `Path` "
            "drops a slash."
        )
    if scheme in _ARROW:
        plain, _, options = address.partition("?")
        host, _, path = plain.partition("://")[2].partition("/")
        # Without the path, whose `*` and blanks an URI may not have; fsspec where this pyarrow was
        # built without the store.
        uri = f"{scheme}://{host}/{'?' * bool(options)}{options}"
        with contextlib.suppress(NotImplementedError):
            filesystem, root = pafs.FileSystem.from_uri(uri)
            return filesystem, f"{root.rstrip('/')}/{path}".rstrip("/"), plain
    filesystem, path = _open_by_fsspec(scheme, address)
    return filesystem, path, address


def _open_by_fsspec(scheme: str, address: str) -> tuple[pafs.FileSystem, str]:
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"prepare: rows is {_shown(address)!r}, and `{scheme}` is read through fsspec, which "
            "is not installed. Install it with `pip install fsspec`, or copy the files to a local "
            "folder first."
        ) from error
    try:
        found, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        kind = ImportError if isinstance(error, ImportError) else ValueError
        raise kind(
            f"prepare: rows is {_shown(address)!r}, and fsspec can't open `{scheme}`: {error}. "
            "Check the address, or copy the files to a local folder first."
        ) from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(found)), path


def _found(filesystem: pafs.FileSystem, path: str, address: str) -> list[LogFile]:
    """The file, the files of a folder, or those that a glob matches, ordered by name."""
    given = filesystem.get_file_info(path)
    if given.type == pafs.FileType.Directory:
        infos = filesystem.get_file_info(pafs.FileSelector(path))
        infos = [i for i in infos if not i.base_name.startswith((".", "_"))]
        infos = [i for i in infos if i.base_name.lower().endswith((*_PARQUET, *_CSV))]
    elif given.type == pafs.FileType.NotFound:
        infos = _matches(filesystem, path) if has_magic(path) else []
        if not infos:
            raise ValueError(
                f"prepare: no Parquet or CSV file {_shown(address)}; expected files or a folder."
            )
    else:
        infos = [given]
    # What both end with; before it, an address and a path differ.
    same = len(os.path.commonprefix([path[::-1], address[::-1]]))
    start, above = address[: len(address) - same], len(path) - same
    files: list[LogFile] = []
    for info in sorted(infos, key=lambda info: info.path.split("/")):
        name = _shown(start + info.path[above:])
        if not info.is_file or info.size is None:
            raise ValueError(
                f"prepare: {name} is no file of a known size; expected files or one folder."
            )
        version = info.mtime_ns
        if version is None and isinstance(filesystem, pafs.PyFileSystem):
            handler: Any = filesystem.handler
            version = handler.fs.ukey(info.path) if hasattr(handler, "fs") else None
        files.append(LogFile(name, filesystem, info.path, info.size, version))
    return files


def _matches(filesystem: pafs.FileSystem, pattern: str) -> list[pafs.FileInfo]:
    """What a glob matches; `*` is of one folder, and does not match hidden names."""
    head, _, name = pattern.rpartition("/")
    above = filesystem.get_file_info([head or pattern[: pattern.startswith("/")]])
    if has_magic(head) and above[0].type == pafs.FileType.NotFound:
        above = _matches(filesystem, head)
    return [
        info
        for folder in above
        if folder.type == pafs.FileType.Directory
        for info in filesystem.get_file_info(pafs.FileSelector(folder.path))
        if fnmatchcase(info.base_name, name)
        and (name.startswith(".") or not info.base_name.startswith("."))
    ]


def _shown(address: Any) -> str:
    """An address, or a text of one, without the password that it may hold."""
    return _PASSWORD.sub("//***@", str(address))
