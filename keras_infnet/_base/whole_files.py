"""Whole files and folders: written under another name, then renamed, so none is half there."""

import contextlib
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_infnet._base.digest import digest
from keras_infnet._base.locks import hold

# Ends of hidden names: of what is being written, and of what is being replaced.
_PARTIAL, _BEFORE = ".partial", ".before"
_CHECKSUM = "checksum"


@contextlib.contextmanager
def whole_file(path: Path, words: str = "") -> Iterator[Path]:
    """A name to write a file to, which becomes `path` if all went well.

    What was at `path` is replaced at that moment; after an error it is as it was. The name ends
    as `path` does, since some writers go by it.

    Args:
        path: The file; its parent folders are made.
        words: What an error says, with `{path}` and `{error}`. Defaults to the error's own text.

    Yields:
        The name to write to.

    Raises:
        OSError: The file can't be written.
    """
    with explained(path, words), scratch_folder(path) as scratch:
        yield scratch / path.name
        os.replace(scratch / path.name, path)


@contextlib.contextmanager
def whole_folder(
    path: Path, words: str = "", replace: bool = False, durable: bool = False
) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` if all went well.

    Args:
        path: The folder; its parent folders are made.
        words: As in `whole_file`.
        replace: Whether a folder that is there goes when the new one is whole. Else it is an error.
        durable: Whether to wait until all is on the disk, so that a power cut leaves it whole too.

    Yields:
        The folder to fill.

    Raises:
        OSError: The folder can't be written.
    """
    with explained(path, words), scratch_folder(path) as scratch:
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
    tidy(path)
    scratch, held = _held_folder(path)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _let_go(held)


def put_in_place(new: Path, path: Path) -> None:
    """Renames a folder to `path`; what was there goes when the new one is in place."""
    if not path.exists():
        new.rename(path)
        return
    before, held = _hidden_name(path, _BEFORE), _hold(path)
    try:
        path.rename(before)
        try:
            new.rename(path)
        except BaseException:
            before.rename(path)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        _let_go(held)


def tidy(path: Path) -> None:
    """Takes away what killed writers of `path` left, or puts back what one was replacing."""
    remove_partial(path.parent, glob.escape(path.name))


def remove_partial(folder: Path, name: str = "*", deep: bool = False) -> None:
    """Takes away what killed processes were writing in a folder; what lives on is left alone.

    Where one was killed while it put a new folder in place of another, that one is put back.

    Args:
        folder: The folder.
        name: Pattern of the finished names. Defaults to all.
        deep: Whether in the folders below too.
    """
    find = folder.rglob if deep else folder.glob
    for left in [path for end in (_PARTIAL, _BEFORE) for path in find(f".{name}.*{end}")]:
        # A writer holds its folder; where locks are unknown, so is whether it lives.
        with contextlib.suppress(OSError):
            held = hold(left)
            if held is not None:
                try:
                    _take_away(left)
                finally:
                    os.close(held)


def _take_away(left: Path) -> None:
    path = left.with_name(left.name[1:].rsplit(".", 2)[0])
    if left.name.endswith(_BEFORE) and not path.exists():
        left.rename(path)
    elif left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _hidden_name(path: Path, end: str) -> Path:
    """A name beside `path` that nothing else has, and that `remove_partial` knows."""
    # Two processes may write the same file.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{end}")


def _held_folder(path: Path) -> tuple[Path, int | None]:
    """A new hidden folder, and what holds it; `None` where locks are unknown."""
    while True:
        scratch = _hidden_name(path, _PARTIAL)
        scratch.mkdir(parents=True)
        try:
            held = hold(scratch)
        except FileNotFoundError:
            continue
        except OSError:
            return scratch, None
        if held is not None and scratch.is_dir():
            return scratch, held
        # Another process took it for a killed one's before it was held, and takes it away.
        _let_go(held)


def _hold(path: Path) -> int | None:
    try:
        return hold(path)
    except OSError:
        # Not every file system locks folders. Nothing is then taken away there either.
        return None


def _let_go(held: int | None) -> None:
    if held is not None:
        os.close(held)


def write_json(path: Path, value: Any, words: str = "", checked: bool = False) -> None:
    """Writes JSON as a whole file.

    Args:
        path: The file.
        value: Its value.
        words: As in `whole_file`.
        checked: Whether a checksum is added to it, a dict, which `read_json` compares.
    """
    if checked:
        value = {**value, _CHECKSUM: _checksum(value)}
    with whole_file(path, words) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_json(
    path: Path, words: str = "{path} can't be read: {error}", checked: bool = False
) -> Any:
    """Reads JSON.

    Args:
        path: The file.
        words: What an error says, with `{path}` and `{error}`.
        checked: Whether it must have the checksum that `write_json` added.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if checked and _checksum(value) != value.pop(_CHECKSUM, None):
            raise ValueError("it is not as it was written: its checksum differs")
        return value
    except (AttributeError, OSError, ValueError) as error:
        raise ValueError(words.format(path=path, error=error)) from error


def _checksum(value: dict[str, Any]) -> str:
    """Of a dict's JSON, whatever checksum it has."""
    text = json.dumps({key: part for key, part in value.items() if key != _CHECKSUM})
    # As it is read: keys that are numbers become texts, in another order.
    return digest(json.dumps(json.loads(text), sort_keys=True))


@contextlib.contextmanager
def explained(path: Path, words: str) -> Iterator[None]:
    """In its context an `OSError` becomes one with `words`; arguments as `whole_file`."""
    try:
        yield
    except OSError as error:
        if not words:
            raise
        refused = OSError(words.format(path=path, error=error))
        refused.errno = error.errno
        raise refused from error


def _sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
