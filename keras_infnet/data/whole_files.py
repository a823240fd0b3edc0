"""Files that are there whole or not at all, and errors of the disk that say what to do."""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to, renamed to `path` if all went well."""
    # Spark may have two workers write the same file.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        refused = OSError(
            f"prepare: can't write {path}: {error}. What is finished is kept: make room, or the "
            "folder writable, and call prepare again with the same arguments."
        )
        refused.errno = error.errno
        raise refused from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON under a temporary name, then renames it."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_json(path: Path, what: str) -> Any:
    """Reads JSON.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{what}: {path} can't be read: {error}") from error
