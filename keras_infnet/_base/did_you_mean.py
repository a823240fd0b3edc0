"""Names that must be known: the error says which is meant."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean ...?`, or the known names, for the end of an error message."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{near[0]}`?" if near else f" Known: {', '.join(known)}."


def check_known(name: Any, known: Collection[Any], problem: str, more: str = "") -> None:
    """A ValueError unless the name is known: the problem, what may be meant, and `more`."""
    if name not in known:
        raise ValueError(f"{problem}{did_you_mean(str(name), map(str, known))}{more}")
