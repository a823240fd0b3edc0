"""Durations: texts such as "10min" as milliseconds."""

import re
from typing import Any

from keras_infnet._base.checks import bad

_UNITS = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([1-9]\d{0,9})(s|min|h|d)")


def milliseconds(part: Any, argument: str, text: Any, more: str = "") -> int:
    """Milliseconds of a text such as `"10min"`, whole seconds; a ValueError if it is none.

    Args:
        part: Who was given it, as in `bad`.
        argument: Name of the argument.
        text: One to ten digits and `s`, `min`, `h` or `d`.
        more: What else it may be, for the error.
    """
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise bad(part, argument, text, f'a duration such as "30s", "10min", "1h" or "7d"{more}')
    return int(found[1]) * _UNITS[found[2]]
