"""Locks of files and folders: the system lets go when the process ends, however it ends."""

import contextlib
import errno
import fcntl
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

# What file systems answer that know no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def hold(path: Path, flags: int = os.O_RDONLY) -> int | None:
    """A descriptor that holds a file or a folder until it is closed; `None`: another holds it.

    Raises:
        OSError: There is no such file, or its file system knows no locks.
    """
    descriptor = os.open(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def take(file: Path, taken: str) -> int:
    """Holds a lock file, which is made, until its descriptor is closed.

    Args:
        file: The file; its folder must be there.
        taken: What the error says where another holds it.

    Raises:
        ValueError: Another process, or another descriptor of this one, holds it.

    Warns:
        UserWarning: The file system knows no locks.
    """
    try:
        held = hold(file, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{file.parent} can't be locked ({error.strerror}). See to it that nothing else writes "
            "there.",
            stacklevel=2,
        )
        held = os.open(file, os.O_RDWR)
    if held is None:
        raise ValueError(taken)
    return held


@contextlib.contextmanager
def locked(file: Path, taken: str) -> Iterator[None]:
    """In its context a lock file is held; arguments and errors as `take`."""
    held = take(file, taken)
    try:
        yield
    finally:
        os.close(held)
