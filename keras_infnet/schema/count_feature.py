"""CountFeature: how many rows there were in the past."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.schema.past import PastFeature, PastRows


@dataclass(frozen=True)
class CountFeature(PastFeature):
    """The number of rows before a row, of the same keys.

    Without an action it counts impressions so far, with one the rows that have it, all strictly
    earlier. A row in which a key is missing is nobody's: its count is 0. Where the action is a
    task's label, it counts in the rows in which the task is observed. `RankingData` computes the
    column; rows that hold it keep it, and requests have it as a number.

    Args:
        name: Name of the input; also of the column, in rows that have it.
        owner: `"user"`, `"item"` or `"context"`: whose the keys are. Defaults to `"context"`.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: As in `NumericFeature`.
        table: As in `NumericFeature`.
        keys: Columns that a past row must agree in; identifiers, strings or integers.
        action: Column of 0 and 1, or missing. Defaults to none: all rows count.
        window: How old a past row may be, such as `"1h"` or `"7d"`: at time `t` those from
            `t - window` on; or `"day"`: of the same day. Defaults to any age.
        zone: Zone whose calendar has the days, such as `"Europe/Lisbon"`.
        delay: How late past rows are known, such as `"10min"`: at time `t` those before
            `t - delay`. Defaults to at once.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.CountFeature("seen_today", "user", window="day", zone="Asia/Shanghai").keys
        ('user_id',)
    """

    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        return past.number(self.counts_of(past.known, past.ones)).astype("float64")
