"""Declared fields: fields of frozen dataclasses that say what they may be."""

import math
from collections.abc import Callable
from dataclasses import Field, field
from typing import Any

# No width or number in a network is larger; a file that says so would fill the memory.
_MOST = 65_536


def declared(
    default: Any, kind: Any = None, problem: Callable[[Any], str | None] | None = None, **marks: Any
) -> Any:
    """A field of a configuration.

    Args:
        default: Its default.
        kind: A value of the field's kind, where the default is None. Defaults to `None`: the
            default is one.
        problem: Says of a value of the right kind what is expected instead, or None.
        **marks: `width` and `depth`: whether it is a hidden width, or the model's depth.
    """
    kind = default if kind is None else kind
    return field(default=default, metadata={"kind": kind, "problem": problem, **marks})


def at_least(
    lowest: float, default: Any, kind: Any = None, most: float = _MOST, **marks: Any
) -> Any:
    """A number, or a tuple of numbers, each `lowest` or more; integers are `most` or less."""
    too_few = _unless(lambda value: value >= lowest, f"{lowest} or more")
    too_many = _unless(lambda v: not isinstance(v, int) or v <= most, f"{most} or less")

    def problem(value: Any) -> str | None:
        return too_few(value) or too_many(value)

    return declared(default, kind, problem, **marks)


def widths(default: Any, kind: Any = None, depth: bool = False) -> Any:
    """The width of a hidden layer, or those of several; they double and halve together."""
    return at_least(1, default, kind, width=True, depth=depth)


def depth(default: int) -> Any:
    """The number of layers that a model is deep."""
    return at_least(1, default, depth=True)


def one_of(*choices: str, default: Any = None) -> Any:
    """One of a few names, or a tuple of them; the first is the default unless one is given."""
    expected = " or ".join(f'"{choice}"' for choice in choices)
    return declared(default or choices[0], problem=_unless(lambda v: v in choices, expected))


def rate(default: Any) -> Any:
    """A share of at least 0 and below 1, or a tuple of such shares."""
    return declared(default, problem=_unless(lambda value: 0 <= value < 1, "in [0, 1)"))


def above_zero(default: Any) -> Any:
    """A finite number above 0, or a tuple of such numbers."""
    return declared(default, problem=_unless(lambda value: 0 < value < math.inf, "above 0"))


def check_field(owner: str, declaration: Field, value: Any) -> None:
    """Raises a ValueError for a value that is not what a declared field may be.

    Args:
        owner: Who was given it, for the message.
        declaration: The field, of `declared` or one of the functions beside it; a plain one, as in
            a model of the user's, may be anything.
        value: The value.

    Raises:
        ValueError: It is of another kind than the field's, or out of range.
    """
    if not declaration.metadata or (value is None and declaration.default is None):
        return
    kind, problem = declaration.metadata["kind"], declaration.metadata["problem"]
    expected = None if _is_like(value, kind) else _name_of(kind)
    if expected is None and problem is not None:
        expected = problem(value)
    if expected is not None:
        name = declaration.name
        received = f"{name}={value!r}" if isinstance(value, str) else repr(value)
        raise ValueError(f"{owner}: `{name}` must be {expected}. Received: {received}")


def _unless(is_right: Callable[[Any], bool], expected: str) -> Callable[[Any], str | None]:
    """The `problem` of a value, or of a tuple: what is expected, unless each is right."""

    def problem(value: Any) -> str | None:
        values = value if isinstance(value, tuple) else (value,)
        return None if all(map(is_right, values)) else expected

    return problem


def _is_like(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return isinstance(value, tuple) and all(_is_like(v, kind[0]) for v in value)
    if isinstance(kind, bool) or not isinstance(kind, int | float):
        return isinstance(value, type(kind))
    # Layers take no whole number of numpy either.
    numbers = (int,) if isinstance(kind, int) else (int, float)
    return isinstance(value, numbers) and not isinstance(value, bool)


def _name_of(kind: Any) -> str:
    names = {bool: "True or False", int: "an int", float: "a number", str: "a string"}
    if isinstance(kind, tuple):
        return f"a tuple, each {names[type(kind[0])]}"
    return names.get(type(kind)) or f"a {type(kind).__name__}"
