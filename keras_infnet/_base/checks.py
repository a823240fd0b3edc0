"""Field checks: errors that say what, where, what was found and what is expected."""

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from keras_infnet._base.did_you_mean import check_known

# What to do about a column that is called otherwise, before the name that is proposed.
RENAME = "Rename the column (`frame.rename(columns={...})`), such as"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def bad(part: Any, argument: str, found: Any, expected: str) -> ValueError:
    """The error of an argument out of range.

    Args:
        part: Who was given it: the name of a function or class, or an object. An object is told by
            its class and its `name`, if it has one.
        argument: Name of the argument.
        found: What was given.
        expected: What it must be, after "expected".

    Returns:
        A `ValueError` to raise.

    Example:
        >>> bad("fit_ranker", "epochs", 0, "1 or more")
        ValueError('fit_ranker: epochs is 0; expected 1 or more.')
    """
    return ValueError(f"{_who(part)}: {argument} is {found!r}; expected {expected}.")


def check_name(part: Any) -> None:
    """Raises a ValueError unless the `name` of an object is a text that is not empty."""
    if not isinstance(part.name, str) or not part.name:
        raise bad(type(part).__name__, "name", part.name, "a name")


def check_word(
    part: Any, argument: str, word: Any, remedy: str, taken: Collection[str] = ()
) -> None:
    """Raises a ValueError unless a text can name an input, an output, a layer and a file.

    Args:
        part: As in `bad`.
        argument: Name of the argument.
        word: The text.
        remedy: What to do about another name, before the one that is proposed.
        taken: Names that the signature `rank_top_k` of an exported model needs for itself.
    """
    if not isinstance(word, str):
        raise bad(part, argument, word, "a name")
    refused = {"self", *keyword.kwlist, *taken}
    if _WORD.fullmatch(word) and word not in refused:
        return
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W+", "_", plain).strip("_") or "x"
    plain = plain if _WORD.fullmatch(plain) else f"x_{plain}"
    plain += "_" if plain in refused else ""
    names = " nor ".join(f"`{name}`" for name in taken)
    also = f", and neither {names}, which `rank_top_k` needs" if names else ""
    raise ValueError(
        f"{_who(part)}: {argument} is {word!r}; expected letters a to z, digits and `_`, a letter "
        f"first, and no word of Python{also}: inputs, outputs and layers of TensorFlow are named "
        f"so. {remedy} {plain!r}."
    )


def check_at_least(part: Any, **least: int) -> None:
    """Raises a ValueError unless these fields of an object are integers of at least so much."""
    for argument, lowest in least.items():
        check_integer(part, argument, getattr(part, argument), lowest)


def check_integer(
    part: Any, argument: str, found: Any, least: int, expected: str | None = None
) -> None:
    """Raises a ValueError unless a value is an integer of at least `least`.

    Args:
        part: As in `bad`.
        argument: Name of the argument.
        found: The value. A number of numpy is no integer here: layers take none.
        least: The lowest value.
        expected: What it must be. Defaults to `an integer of {least} or more`.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < least:
        raise bad(part, argument, found, expected or f"an integer of {least} or more")


def check_choice(part: Any, argument: str, found: Any, choices: Collection[Any]) -> Any:
    """The value, if it is one of the choices; else a ValueError."""
    if found not in choices:
        raise bad(part, argument, found, f"one of {choices}")
    return found


def as_names(part: Any, argument: str, names: Any) -> tuple[Any, ...]:
    """A field's names as a tuple; one text alone is a ValueError."""
    if isinstance(names, str):
        raise bad(part, argument, names, "a tuple of names, not one string")
    return tuple(names)


def check_different(part: Any, argument: str) -> None:
    """Raises a ValueError if a field of an object names something twice."""
    names = getattr(part, argument)
    twice = sorted({name for name in names if names.count(name) > 1}, key=str)
    if twice:
        raise bad(part, argument, names, f"each name once, not {', '.join(map(str, twice))} twice")


def known_names(
    part: Any, kind: str, names: str | Iterable[str], known: Collection[str]
) -> tuple[str, ...]:
    """Names as a tuple, of which there is one or more.

    Args:
        part: As in `bad`.
        kind: What is named, such as `"task"`.
        names: The names, or one alone.
        known: The names that there are.

    Raises:
        ValueError: There is none, one is not known, or one is given twice.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    who = _who(part)
    if not names:
        raise ValueError(f"{who}: no {kind}; expected at least one of {', '.join(known)}.")
    for name in names:
        check_known(name, known, f"{who}: unknown {kind} `{name}`.")
        if names.count(name) > 1:
            raise ValueError(f"{who}: {kind} `{name}` is given {names.count(name)} times.")
    return names


def _who(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind, name = type(part).__name__, getattr(part, "name", None)
    return kind if name is None else f"{kind} `{name}`"
