"""Search space: the values of INFNet's hyperparameters that are tried."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from keras_infnet._base.checks import bad
from keras_infnet._base.fields import above_zero, at_least, check_field, one_of, rate

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

    num_field_proxies: Sequence[int] = at_least(1, default=(1, 2, 4, 8))
    num_task_proxies: Sequence[int] = at_least(0, default=(1, 2, 4))
    num_blocks: Sequence[int] = at_least(1, default=(1, 2))
    dim: Sequence[int] = at_least(1, default=(16, 32))
    learning_rate: Sequence[float] = above_zero((1e-3, 2e-3, 4e-3))
    table_rate_factor: Sequence[float] = above_zero((1.0,))
    dropout: Sequence[float] = rate((0.0, 0.1))
    form: Sequence[str] = one_of(*FORMS, default=("default",))

    def __post_init__(self) -> None:
        for declared in fields(self):
            values = getattr(self, declared.name)
            if isinstance(values, Sequence) and not isinstance(values, str):
                values = tuple(values)
            check_field("SearchSpace", declared, values)
            if not values or len(set(values)) < len(values):
                expected = "one or more values, all different"
                raise bad("SearchSpace", declared.name, values, expected)
            # keras-tuner wants values of one type: a rate of 0 is 0.0.
            kind = type(declared.metadata["kind"][0])
            object.__setattr__(self, declared.name, tuple(map(kind, values)))

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
