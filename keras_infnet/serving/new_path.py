"""Files and folders that appear under their name only when they are whole."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def renamed_at_the_end(path: Path, who: str) -> Iterator[Path]:
    """A temporary name beside `path`: renamed at the end, gone after an error.

    Args:
        path: What is to be written; its parent folders are made.
        who: The function that writes, for the error message.
    """
    import tensorflow as tf

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(path) as scratch:
            yield scratch / path.name
            (scratch / path.name).rename(path)
    except (OSError, tf.errors.OpError) as error:
        raise OSError(
            f"{who}: `{path}` can't be written: {error}. Nothing was left there."
        ) from error


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path`, on the same disk, that is gone at the end."""
    scratch = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
