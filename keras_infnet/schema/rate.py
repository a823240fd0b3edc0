"""RateFeature: how often an action followed in the past, smoothed."""

import math
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from keras_infnet._base.checks import bad
from keras_infnet.schema.past import PastFeature, PastRows


@dataclass(frozen=True)
class RateFeature(PastFeature):
    """The smoothed rate of an action in the rows before a row, of the same keys.

    `(n_1 + prior * p) / (n + prior)`: `n` rows strictly earlier, of the same keys, in which the
    action is known, `n_1` of them with the action; `p` is the action's rate in the training rows.
    Where the action is a task's label, it is known in the rows in which the task is observed. A row
    in which a key is missing is nobody's: its rate is `p`. Rows of the same millisecond are no
    past. `RankingData` computes the column; rows that hold it keep it, and requests have it as a
    number. What is past, and who computes it, is the same for `CountFeature` and
    `SecondsSinceFeature`.

    Args:
        name: Name of the input; also of the column, in rows that have it.
        owner: `"user"`, `"item"` or `"context"`; `"item"` where a key is the item's, so that each
            candidate has its own value. Defaults to `"context"`.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: As in `NumericFeature`.
        table: As in `NumericFeature`.
        encoding: As in `NumericFeature`.
        token: As in `NumericFeature`.
        keys: Columns that a past row must agree in; identifiers, strings or integers.
        action: Column of 0 and 1, or missing, which counts for nothing.
        window: How old a past row may be, such as `"1h"` or `"7d"`: at time `t` those from
            `t - window` on; or `"day"`: of the same day. Defaults to any age.
        zone: Zone whose calendar has the days, such as `"Europe/Lisbon"`.
        delay: How late past rows are known, such as `"10min"`: at time `t` those before
            `t - delay`. Defaults to at once.
        prior: Weight of `p`, in rows; 0 or more.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.RateFeature("ctr", keys=("user_id", "tab"), action="is_click").prior
        20
    """

    _: KW_ONLY
    prior: float = 20

    counts_known: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action is None:
            raise bad(self, "action", None, "a column of 0 and 1, such as 'is_click'")
        prior: Any = self.prior
        is_number = issubclass(type(prior), Real) and not issubclass(type(prior), bool)
        if not (is_number and math.isfinite(prior) and prior >= 0):
            raise bad(self, "prior", prior, "a number of 0 or more")

    def constants(self, rate: float) -> dict[str, float]:
        return {"p": rate, "prior": float(self.prior)}

    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        known, ones = past.number(past.known), past.number(past.ones)
        weight = known + float(self.prior)
        # Without a past and without a prior nothing but `p` is known.
        smoothed = np.full(len(weight), rate)
        return np.divide(ones + self.prior * rate, weight, out=smoothed, where=weight > 0)
