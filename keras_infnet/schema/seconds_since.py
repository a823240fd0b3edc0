"""SecondsSinceFeature: how long ago the previous row was."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.schema.past import PastFeature, PastRows


@dataclass(frozen=True)
class SecondsSinceFeature(PastFeature):
    """Seconds since the newest row before a row, of the same keys; missing where there is none.

    With an action it is the newest row that has it. What is past, and who computes it: as
    `RateFeature`.

    Args:
        name: Name of the input and of the column.
        owner: Whose it is, as in `RateFeature`. Defaults to `"context"`.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: `True`: a first row has no previous one.
        table: As in `NumericFeature`.
        encoding: As in `NumericFeature`.
        token: As in `NumericFeature`.
        keys: Columns that a past row must agree in.
        action: Column of 0 and 1, or missing. Defaults to none: any row counts.
        window: How old a past row may be, as in `RateFeature`. Defaults to any age.
        zone: Zone of the days of `window="day"`.
        delay: How late past rows are known, as in `RateFeature`. Defaults to at once.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.SecondsSinceFeature("since_click", "user", action="is_click").keys
        ('user_id',)
    """

    allow_missing: bool = True

    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        return past.milliseconds(self.counts_of(past.known, past.ones)) / 1000
