"""Configurations of models: frozen values whose fields say what they may be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Self

from keras_infnet._base.did_you_mean import did_you_mean

# What `RankingModel` itself takes.
_OF_ALL = ("dtype", "name", "trainable")


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


def at_least(lowest: float, default: Any, kind: Any = None, **marks: Any) -> Any:
    """A number, or a tuple of numbers, of which each is `lowest` or more."""

    def problem(value: Any) -> str | None:
        sizes = value if isinstance(value, tuple) else (value,)
        return None if all(size >= lowest for size in sizes) else f"{lowest} or more"

    return declared(default, kind, problem, **marks)


def widths(default: Any, kind: Any = None, depth: bool = False) -> Any:
    """The width of a hidden layer, or those of several; they double and halve together."""
    return at_least(1, default, kind, width=True, depth=depth)


def depth(default: int) -> Any:
    """The number of layers that a model is deep."""
    return at_least(1, default, depth=True)


def one_of(*choices: str) -> Any:
    """One of a few names; the first is the default."""
    expected = " or ".join(f'"{choice}"' for choice in choices)
    return declared(choices[0], problem=lambda value: None if value in choices else expected)


def _rate(default: float) -> Any:
    return declared(default, problem=lambda value: None if 0 <= value < 1 else "in [0, 1)")


def _above_zero(default: float) -> Any:
    return declared(default, problem=lambda v: None if 0 < v < math.inf else "above 0")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What all models are configured by; each has a `Config` of its own that adds to it.

    Args:
        dim: Token width. Defaults to `32`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it.
            Defaults to `None`: all that its histories have, and the position.
        members: Number of networks, each with its own loss, whose outputs are averaged. Defaults
            to `1`.
        own_tables: Whether each member has embedding tables of its own. Defaults to `False`.
        dropout: Rate. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
    """

    dim: int = at_least(1, default=32)
    head_dim: int | None = widths(default=64)
    event_context: tuple[str, ...] | None = declared(None, kind=("action",))
    members: int = at_least(1, default=1)
    own_tables: bool = declared(False)
    dropout: float = _rate(0.0)
    embedding_stddev: float = _above_zero(0.01)

    @property
    def task_table_dim(self) -> int:
        """Width of the tables that each task has for itself; 0: there are none."""
        return 0

    @property
    def projects_events(self) -> bool:
        """Whether events of one field are projected too; those of several always are."""
        return True

    @property
    def any_length(self) -> bool:
        """Whether histories may come without their oldest positions."""
        return True

    @classmethod
    def checked(cls, model: str, given: Mapping[str, Any]) -> Self:
        """The configuration of these arguments.

        Args:
            model: Name of the model, for messages.
            given: Arguments by name; lists stand for tuples.

        Returns:
            The configuration.

        Raises:
            ValueError: An argument is unknown, of another kind than it should be, or out of range.
        """
        known = {f.name: f for f in fields(cls) if f.init}
        for name in given:
            if name not in known:
                near = did_you_mean(name, [*known, *_OF_ALL])
                raise ValueError(f"{model}: unknown argument `{name}`.{near}")
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        config = cls(**given)
        for name, declaration in known.items():
            _check(model, declaration, getattr(config, name))
        config.check(model)
        return config

    def check(self, model: str) -> None:
        """Raises a ValueError for values that exclude each other."""


def _check(model: str, declaration: Field, value: Any) -> None:
    if value is None and declaration.default is None:
        return
    kind, problem = declaration.metadata["kind"], declaration.metadata["problem"]
    expected = None if _is_like(value, kind) else _name_of(kind)
    if expected is None and problem is not None:
        expected = problem(value)
    if expected is not None:
        name = declaration.name
        received = f"{name}={value!r}" if isinstance(value, str) else repr(value)
        raise ValueError(f"{model}: `{name}` must be {expected}. Received: {received}")


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
