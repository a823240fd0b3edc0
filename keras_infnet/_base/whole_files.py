"""Whole files and folders: written under another name, then renamed, so none is half there."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PARTIAL = ".partial"


@contextlib.contextmanager
def whole_file(
    path: Path, words: str = "", errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[Path]:
    """A name to write a file to, which becomes `path` if all went well.

    What was at `path` is replaced at that moment; after an error it is as it was. The name ends
    as `path` does, since some writers go by it.

    Args:
        path: The file; its parent folders are made.
        words: What an error says, with `{path}` and `{error}`. Defaults to the error's own text.
        errors: Which exceptions mean that it can't be written; each becomes an `OSError`.

    Yields:
        The name to write to.

    Raises:
        OSError: The file can't be written.
    """
    with _explained(path, words, errors), scratch_folder(path) as scratch:
        yield scratch / path.name
        os.replace(scratch / path.name, path)


@contextlib.contextmanager
def whole_folder(
    path: Path,
    words: str = "",
    errors: tuple[type[Exception], ...] = (OSError,),
    replace: bool = False,
    durable: bool = False,
) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` if all went well.

    Args:
        path: The folder; its parent folders are made.
        words: As in `whole_file`.
        errors: As in `whole_file`.
        replace: Whether a folder that is there goes when the new one is whole. Else it is an error.
        durable: Whether to wait until all is on the disk, so that a power cut leaves it whole too.

    Yields:
        The folder to fill.

    Raises:
        OSError: The folder can't be written.
    """
    with _explained(path, words, errors), scratch_folder(path) as scratch:
        new = scratch / path.name
        new.mkdir()
        yield new
        if durable:
            for part in (*new.rglob("*"), new):
                _sync(part)
        if replace:
            put_in_place(new, path)
        else:
            new.rename(path)
        if durable:
            _sync(path.parent)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, on the same disk, that is gone at the end."""
    scratch = hidden_name(path)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def hidden_name(path: Path) -> Path:
    """A name beside `path` that nothing else has, and that `remove_partial` knows."""
    # Two processes may write the same file.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}")


def put_in_place(new: Path, path: Path) -> None:
    """Renames a folder to `path`; what was there goes when the new one is in place."""
    if not path.exists():
        new.rename(path)
        return
    with scratch_folder(path) as scratch:
        before = path.rename(scratch / path.name)
        try:
            new.rename(path)
        except BaseException:
            before.rename(path)
            raise


def remove_partial(folder: Path, name: str = "*", deep: bool = False) -> None:
    """Takes away what killed processes were writing in a folder.

    Args:
        folder: The folder.
        name: Pattern of the finished names. Defaults to all.
        deep: Whether in the folders below too.
    """
    pattern = f".{name}{_PARTIAL}"
    for left in list(folder.rglob(pattern) if deep else folder.glob(pattern)):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_json(path: Path, value: Any, words: str = "") -> None:
    """Writes JSON as a whole file; `words` as in `whole_file`."""
    with whole_file(path, words) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_json(path: Path, words: str = "{path} can't be read: {error}") -> Any:
    """Reads JSON.

    Args:
        path: The file.
        words: What an error says, with `{path}` and `{error}`.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(words.format(path=path, error=error)) from error


@contextlib.contextmanager
def _explained(path: Path, words: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        if not words:
            raise
        refused = OSError(words.format(path=path, error=error))
        refused.errno = getattr(error, "errno", None)
        raise refused from error


def _sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
