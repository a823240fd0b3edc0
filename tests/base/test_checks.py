import re
from dataclasses import dataclass

import pytest

from keras_infnet._base.checks import (
    as_names,
    bad,
    check_at_least,
    check_choice,
    check_different,
    check_integer,
    check_name,
    known_names,
)


@dataclass
class Part:
    name: str = "seen"
    size: object = 1
    fields: tuple = ("a", "b")


@dataclass
class Nameless:
    size: int = 1


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("fit", "fit: size is 'x'; expected 1."),
        (Part(), "Part `seen`: size is 'x'; expected 1."),
        (Nameless(), "Nameless: size is 'x'; expected 1."),
    ],
)
def test_an_error_says_who_was_given_what(part, message):
    assert str(bad(part, "size", "x", "1")) == message


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_text(name):
    with pytest.raises(ValueError, match=f"^Part: name is {name!r}; expected a name.$"):
        check_name(Part(name))
    check_name(Part("x"))


@pytest.mark.parametrize("size", [0, 1.0, True, "1", None])
def test_an_integer_has_a_lowest_value(size):
    with pytest.raises(ValueError, match=re.escape(f"size is {size!r}; expected an integer of 1")):
        check_at_least(Part(size=size), size=1)
    with pytest.raises(ValueError, match=re.escape(f"fit: rows is {size!r}; expected 1 or more.")):
        check_integer("fit", "rows", size, 1, "1 or more")
    check_at_least(Part(size=1), size=1)


def test_choices_and_names():
    assert check_choice("fit", "how", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match=re.escape("fit: how is 'c'; expected one of ('a', 'b').")):
        check_choice("fit", "how", "c", ("a", "b"))
    assert as_names(Part(), "fields", ["a"]) == ("a",)
    with pytest.raises(ValueError, match="fields is 'a'; expected a tuple of names, not one str"):
        as_names(Part(), "fields", "a")
    check_different(Part(), "fields")
    with pytest.raises(ValueError, match="expected each name once, not a twice"):
        check_different(Part(fields=("a", "b", "a")), "fields")


def test_known_names():
    known = ("click", "like")
    assert known_names("KuaiRand", "task", ["like", "click"], known) == ("like", "click")
    assert known_names("KuaiRand", "task", "like", known) == ("like",)
    for names, message in {
        (): "KuaiRand: no task; expected at least one of click, like.",
        ("like", "clik"): "KuaiRand: unknown task `clik`. Did you mean `click`?",
        ("like", "like"): "KuaiRand: task `like` is given 2 times.",
    }.items():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            known_names("KuaiRand", "task", names, known)
