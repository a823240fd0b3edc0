"""Paths that users give: local ones, with `~` expanded; other addresses are errors."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from keras_infnet._base.checks import bad

# `s3:/` too, which is what pathlib makes of `s3://`; one letter alone is a drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_READ = "Copy it to a local folder first, or mount the store."
_WRITE = (
    "What is written gets its name when it is whole, by a renaming that stores do not have: write "
    "to a local folder, then copy it to the store."
)


def store_of(value: Any) -> str | None:
    """The scheme of an address, such as `s3`; `None` of a path, and of `file`."""
    found = _SCHEME.match(os.fspath(value)) if isinstance(value, str | Path) else None
    return None if found is None or found[1].lower() == "file" else found[1].lower()


def local_path(value: Any, who: str, argument: str, *, written: bool = False) -> Path:
    """The local path that a user gave.

    Args:
        value: A text or `os.PathLike`; `~` at its start is the home folder, and `file:///a` is
            `/a`.
        who: Who was given it, for the error message.
        argument: Name of the argument.
        written: Whether it is written, and not read: what to do instead of giving the address of a
            store, such as `s3://bucket/logs`.

    Raises:
        ValueError: It is no path, of no user, or the address of a store.

    Example:
        >>> str(local_path("models/ranker", "export", "path"))
        'models/ranker'
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise bad(who, argument, value, "a path")
    scheme = _SCHEME.match(text)
    if scheme is not None:
        address = urlsplit(text)
        if scheme[1].lower() != "file" or address.netloc not in ("", "localhost"):
            raise ValueError(
                f"{who}: {argument} is {text!r}, an address of `{scheme[1]}`; expected a path of "
                f"this machine's files. {_WRITE if written else _READ}"
            )
        text = unquote(address.path)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise bad(who, argument, text, "a path whose `~` is a user's home folder") from error
