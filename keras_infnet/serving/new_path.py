"""New paths: version folders of a model, which appear under their number when they are whole."""

import errno
from collections.abc import Callable
from pathlib import Path

from keras_infnet._base.whole_files import scratch_folder


def new_version(folder: Path, version: int | None, write: Callable[[Path], None]) -> Path:
    """Writes the next version folder of a model, or that of a number.

    The next number is chosen when everything is written, by renaming: who watches the folder sees
    whole versions only, and writers at the same time get different numbers.

    Args:
        folder: The folder of the versions.
        version: The number. `None`: one more than the highest there.
        write: Writes the folder of the name that it is given.

    Returns:
        The version folder.

    Raises:
        ValueError: The number is below 1.
        FileExistsError: The version exists.
        OSError: It can't be written.
    """
    import tensorflow as tf

    if version is not None and version < 1:
        raise ValueError(f"export: version is {version!r}; expected 1 or more.")
    path = folder / str(_next(folder) if version is None else version)
    if version is not None and path.exists():
        raise FileExistsError(
            f"export: `{path}` exists. A version is never overwritten: choose another."
        )
    try:
        with scratch_folder(path) as scratch:
            written = scratch / path.name
            write(written)
            while True:
                try:
                    return written.rename(path)
                except OSError as error:
                    # Another export took the number in between.
                    taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
                    if version is not None or not taken:
                        raise
                path = folder / str(_next(folder))
    except (OSError, tf.errors.OpError) as error:
        raise OSError(
            f"export: `{path}` can't be written: {error}. Nothing was left there."
        ) from error


def _next(folder: Path) -> int:
    there = folder.iterdir() if folder.is_dir() else ()
    return 1 + max((int(p.name) for p in there if p.name.isdecimal()), default=0)
