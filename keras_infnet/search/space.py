"""Search space: the values of INFNet's hyperparameters that are tried."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

FORMS = ("default", "paper_v1", "paper_v2")
_WHOLE = ("num_field_proxies", "num_task_proxies", "num_blocks", "dim")


@dataclass(frozen=True)
class SearchSpace:
    """The values that a search tries, each hyperparameter independent of the others.

    A hyperparameter that shall not vary has one value. Ranges beyond these are a matter of the
    data: the paper searched 1 to 32 categorical proxies.

    Args:
        num_field_proxies: Numbers of categorical proxies `C~`.
        num_task_proxies: Numbers of shared task tokens `T~`; 0: none.
        num_blocks: Numbers of blocks.
        dim: Token widths.
        learning_rate: Learning rates of the first step; see `fit_ranker`.
        table_rate_factor: Learning rates of the embedding tables, as multiples of `learning_rate`.
        dropout: Rates in `[0, 1)`.
        form: Versions of the network: `"default"`, `"paper_v1"`, `"paper_v2"`.

    Raises:
        ValueError: A hyperparameter has no value, a value twice, or one out of its range.

    Example:
        >>> space = keras_infnet.search.SearchSpace(num_field_proxies=(1, 2, 4), dim=(16,))
        >>> space.num_points
        108
    """

    num_field_proxies: Sequence[int] = (1, 2, 4, 8)
    num_task_proxies: Sequence[int] = (1, 2, 4)
    num_blocks: Sequence[int] = (1, 2)
    dim: Sequence[int] = (16, 32)
    learning_rate: Sequence[float] = (1e-3, 2e-3, 4e-3)
    table_rate_factor: Sequence[float] = (1.0,)
    dropout: Sequence[float] = (0.0, 0.1)
    form: Sequence[str] = ("default",)

    def __post_init__(self) -> None:
        for name, values in self.items():
            if isinstance(values, str | bytes) or not isinstance(values, Sequence) or not values:
                raise ValueError(
                    f"SearchSpace: `{name}` must be a list of one or more values. "
                    f"Received: {values!r}"
                )
            if len(set(values)) < len(values):
                raise ValueError(f"SearchSpace: `{name}` has a value twice: {list(values)}.")
            expected, is_right = _RULES[name]
            wrong = [value for value in values if not is_right(value)]
            if wrong:
                raise ValueError(f"SearchSpace: `{name}` has {wrong}; expected {expected}.")
            plain = float if name in _RATES else lambda value: value
            object.__setattr__(self, name, tuple(plain(value) for value in values))

    @property
    def num_points(self) -> int:
        """Number of different configurations."""
        return math.prod(len(values) for _, values in self.items())

    @property
    def num_varied(self) -> int:
        """Number of hyperparameters with more than one value."""
        return sum(len(values) > 1 for _, values in self.items())

    def items(self) -> Iterator[tuple[str, Sequence[Any]]]:
        """Names of the hyperparameters and their values."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    def to_dict(self) -> dict[str, list[Any]]:
        """The values as lists: what JSON gives back."""
        return {name: list(values) for name, values in asdict(self).items()}


_RATES = ("learning_rate", "table_rate_factor", "dropout")


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _is_whole(lowest: int) -> Any:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= lowest


_RULES: dict[str, tuple[str, Any]] = {
    **{name: ("whole numbers of 1 or more", _is_whole(1)) for name in _WHOLE},
    "num_task_proxies": ("whole numbers of 0 or more", _is_whole(0)),
    "learning_rate": ("finite numbers above 0", lambda v: _is_number(v) and v > 0),
    "table_rate_factor": ("finite numbers above 0", lambda v: _is_number(v) and v > 0),
    "dropout": ("numbers in [0, 1)", lambda v: _is_number(v) and 0 <= v < 1),
    "form": (f"any of {', '.join(FORMS)}", lambda v: v in FORMS),
}
