"""Checks of a declared part's arguments, with one form of message."""

from collections.abc import Iterable
from typing import Any


def bad(part: Any, argument: str, found: object, expected: str) -> ValueError:
    """The error of one argument of a named part: what was found and what was expected."""
    return ValueError(
        f"{type(part).__name__} `{part.name}`: {argument} is {found!r}; expected {expected}."
    )


def check_name(part: Any) -> None:
    """A ValueError unless the part has a name."""
    if not isinstance(part.name, str) or not part.name:
        raise ValueError(f"{type(part).__name__}: name is {part.name!r}; expected a name.")


def check_at_least(part: Any, **least: int) -> None:
    """A ValueError unless each argument is a whole number of at least its bound."""
    for argument, value in least.items():
        found = getattr(part, argument)
        if not isinstance(found, int) or isinstance(found, bool) or found < value:
            raise bad(part, argument, found, f"an integer of {value} or more")


def check_different(part: Any, argument: str) -> None:
    """A ValueError if a name stands twice in an argument."""
    names = getattr(part, argument)
    twice = sorted({name for name in names if names.count(name) > 1}, key=str)
    if twice:
        raise bad(part, argument, names, f"each name once, not {', '.join(map(str, twice))} twice")


def as_names(part: Any, argument: str, value: Iterable[Any]) -> tuple[Any, ...]:
    """Names as a tuple; one string instead of several is an error."""
    if isinstance(value, str):
        raise bad(part, argument, value, "a tuple of names, not one string")
    return tuple(value)
