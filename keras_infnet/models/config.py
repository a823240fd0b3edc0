"""Model configuration: the arguments that all models have, and their checks."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet._base.fields import above_zero, at_least, check_field, declared, rate, widths

# What `RankingModel` itself takes.
_OF_ALL = ("dtype", "name", "trainable")


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
    dropout: float = rate(0.0)
    embedding_stddev: float = above_zero(0.01)

    @property
    def task_table_dim(self) -> int:
        """Width of the tables that each task has for itself; 0: there are none."""
        return 0

    @property
    def projects_events(self) -> bool:
        """Whether events of one field are projected too; those of several always are."""
        return True

    @property
    def adds_positions(self) -> bool:
        """Whether an event's token knows its position where `event_context` says nothing."""
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
            check_field(model, declaration, getattr(config, name))
        config.check(model)
        return config

    def check(self, model: str) -> None:
        """Raises a ValueError for values that exclude each other."""
