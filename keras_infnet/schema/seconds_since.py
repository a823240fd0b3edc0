"""SecondsSinceFeature: how long ago the previous row was."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.schema.past import PastFeature, PastRows


@dataclass(frozen=True)
class SecondsSinceFeature(PastFeature):
    """Seconds since the newest row before a row, of the same keys; missing where there is none.

    With an action it is the newest row that has it. `RankingData` computes the column; rows that
    hold it keep it, and requests have it as a number.

    Args:
        name: Name of the input; also of the column, in rows that have it.
        owner: `"user"`, `"item"` or `"context"`: whose the keys are. Defaults to `"context"`.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: `True`: a first row has no previous one.
        table: As in `NumericFeature`.
        keys: Columns that a past row must agree in; identifiers, strings or integers.
        action: Column of 0 and 1, or missing. Defaults to none: any row counts.
        window: How old a past row may be, such as `"1h"` or `"7d"`: at time `t` those from
            `t - window` on; or `"day"`: of the same day. Defaults to any age.
        zone: Zone whose calendar has the days, such as `"Europe/Lisbon"`.
        delay: How late past rows are known, such as `"10min"`: at time `t` those before
            `t - delay`. Defaults to at once.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.SecondsSinceFeature("since_click", "user", action="is_click").keys
        ('user_id',)
    """

    allow_missing: bool = True

    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        return past.milliseconds(self.counts_of(past.known, past.ones)) / 1000
