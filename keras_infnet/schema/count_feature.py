"""CountFeature: how many rows there were in the past."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.schema.past import PastFeature, PastRows


@dataclass(frozen=True)
class CountFeature(PastFeature):
    """The number of rows before a row, of the same keys.

    Without an action it counts impressions so far, with one the rows that have it. A row in which a
    key is missing is nobody's: its count is 0. What is past, and who computes it: as `RateFeature`.

    Args:
        name: Name of the input and of the column.
        owner: Whose it is, as in `RateFeature`. Defaults to `"context"`.
        buckets: As in `NumericFeature`.
        bucketing: As in `NumericFeature`.
        allow_missing: As in `NumericFeature`.
        table: As in `NumericFeature`.
        encoding: As in `NumericFeature`.
        token: As in `NumericFeature`.
        keys: Columns that a past row must agree in.
        action: Column of 0 and 1, or missing. Defaults to none: all rows count.
        window: How old a past row may be, as in `RateFeature`. Defaults to any age.
        zone: Zone of the days of `window="day"`.
        delay: How late past rows are known, as in `RateFeature`. Defaults to at once.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.CountFeature("seen_today", "user", window="day", zone="Asia/Shanghai").keys
        ('user_id',)
    """

    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        return past.number(self.counts_of(past.known, past.ones)).astype("float64")
