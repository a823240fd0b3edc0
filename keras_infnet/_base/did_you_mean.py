"""Did you mean: the nearest known name, for the end of an error message."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean ...?`, or the known names, for the end of an error message."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{near[0]}`?" if near else f" Known: {', '.join(known)}."
