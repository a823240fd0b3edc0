"""Files that `prepare` writes whole, and the words of its errors."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from keras_infnet._base import whole_files

_WORDS = (
    "prepare: can't write {path}: {error}. What is finished is kept: make room, or the folder "
    "writable, and call prepare again with the same arguments."
)


def whole_file(path: Path) -> AbstractContextManager[Path]:
    """A name to write to, which becomes `path` if all went well."""
    return whole_files.whole_file(path, _WORDS)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as a whole file."""
    whole_files.write_json(path, value, _WORDS)


def read_json(path: Path, what: str) -> Any:
    """Reads JSON; a file that is missing or damaged is a ValueError that begins with `what`."""
    return whole_files.read_json(path, f"{what}: {{path}} can't be read: {{error}}")
