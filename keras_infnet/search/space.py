"""Search space: the values of INFNet's hyperparameters that are tried."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

FORMS = ("default", "paper_v1", "paper_v2")


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
            plain = tuple(map(float, values)) if name in _RATES else tuple(values)
            object.__setattr__(self, name, plain)

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


_RATES = ("learning_rate", "table_rate_factor", "dropout")


def _whole(lowest: int) -> tuple[str, Any]:
    """What is expected of whole numbers, and whether a value is one."""
    return f"whole numbers of {lowest} or more", lambda v: _is(v, int) and v >= lowest


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


_ABOVE_0 = "finite numbers above 0", lambda v: _is(v, int | float) and 0 < v < math.inf
_RULES: dict[str, tuple[str, Any]] = {
    "num_field_proxies": _whole(1),
    "num_task_proxies": _whole(0),
    "num_blocks": _whole(1),
    "dim": _whole(1),
    "learning_rate": _ABOVE_0,
    "table_rate_factor": _ABOVE_0,
    "dropout": ("numbers in [0, 1)", lambda v: _is(v, int | float) and 0 <= v < 1),
    "form": (f"any of {', '.join(FORMS)}", lambda v: v in FORMS),
}
