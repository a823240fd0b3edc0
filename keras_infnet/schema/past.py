"""PastFeature: the base of numbers that are computed from the rows before a row."""

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from keras_infnet._base.checks import as_names, bad, check_different
from keras_infnet.schema.date_time import check_zone, midnights
from keras_infnet.schema.duration import milliseconds
from keras_infnet.schema.feature import Owner
from keras_infnet.schema.numeric import NumericFeature

# Columns of the tables of a state, beside the keys.
STATE_COLUMNS = ("last_time", "rows", "ones", "p", "prior")


@dataclass(frozen=True)
class PastRows:
    """What lies before each row among the past rows of its keys.

    Past rows lie sorted by keys and time; those of row `i` are `starts[i] .. ends[i] - 1`.

    Args:
        starts: int64 `(rows,)`.
        ends: int64 `(rows,)`.
        row_times: int64 `(rows,)`, milliseconds.
        known: Integers `(past rows,)`: how many rows of the log with a known action each stands
            for; without an action, how many rows.
        ones: Integers `(past rows,)`: how many of them have the action.
        times: int64 `(past rows,)`, milliseconds.
    """

    starts: np.ndarray
    ends: np.ndarray
    row_times: np.ndarray
    known: np.ndarray
    ones: np.ndarray
    times: np.ndarray

    def number(self, counted: np.ndarray) -> np.ndarray:
        """Sums of a number of each past row, int64 `(rows,)`."""
        sums = np.zeros(len(counted) + 1, "int64")
        np.cumsum(counted, out=sums[1:])
        return sums[self.ends] - sums[self.starts]

    def milliseconds(self, counted: np.ndarray) -> np.ndarray:
        """Time since the newest past row that counts, float64 `(rows,)`; NaN: there is none."""
        found = np.full(len(self.ends), np.nan)
        there = np.flatnonzero(self.ends > self.starts)
        places = np.where(counted > 0, np.arange(len(counted)), -1)
        last = np.maximum.accumulate(places)[self.ends[there] - 1]
        inside = last >= self.starts[there]
        there, last = there[inside], last[inside]
        found[there] = self.row_times[there] - self.times[last]
        return found


@dataclass(frozen=True)
class PastFeature(NumericFeature):
    """A number computed from the rows before a row: those of the same keys, strictly earlier.

    A kind of it is a class derived from this one, which says what is counted and what the number
    is. Rows of the same millisecond are no past, nor are rows in which a key is missing. The
    arguments are explained by `RateFeature`.

    Args:
        owner: Whose it is.
        keys: Columns that a past row must agree in.
        action: Column of 0 and 1.
        window: How old a past row may be.
        zone: Zone of the days of `window="day"`.
        delay: How late past rows are known.

    Raises:
        ValueError: An argument is out of range.
    """

    owner: Owner = "context"
    _: KW_ONLY
    keys: tuple[str, ...] = ("user_id",)
    action: str | None = None
    window: str | None = None
    zone: str = "UTC"
    delay: str | None = None

    # Whether rows without the action count, too.
    counts_known: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keys", as_names(self, "keys", self.keys))
        names: tuple[Any, ...] = (*self.keys, *([] if self.action is None else [self.action]))
        if not self.keys or not all(isinstance(n, str) and n for n in names):
            raise bad(self, "keys, action", names, "one or more names of columns")
        check_different(self, "keys")
        if both := sorted(set(self.keys) & set(STATE_COLUMNS)):
            expected = f"other names than {both[0]!r}: tables of the state have that column"
            raise bad(self, "keys", self.keys, expected)
        check_zone(self)
        delay_ms = self.delay_ms
        if self.window not in (None, "day") and self._window_ms <= delay_ms:
            raise bad(self, "window", self.window, f"more than the delay, {self.delay!r}")

    @property
    def label(self) -> str:
        return f"Feature `{self.name}` (of the past: `data.rates.attach(rows)` computes it)"

    @property
    def log_columns(self) -> tuple[str, ...]:
        return (*self.keys, *([] if self.action is None else [self.action]))

    @cached_property
    def delay_ms(self) -> int:
        """Milliseconds until a past row is known."""
        return 0 if self.delay is None else milliseconds(self, "delay", self.delay)

    @cached_property
    def _window_ms(self) -> int:
        return milliseconds(self, "window", self.window, ', or "day"')

    def since(self, times: np.ndarray) -> np.ndarray | None:
        """The first millisecond that counts for rows of these times; `None`: all of the past."""
        if self.window is None:
            return None
        return midnights(times, self.zone) if self.window == "day" else times - self._window_ms

    def counts_of(self, known: np.ndarray, ones: np.ndarray) -> np.ndarray:
        """Of past rows, the numbers of those that the feature counts."""
        return known if self.counts_known or self.action is None else ones

    def constants(self, rate: float) -> dict[str, float]:
        """What a value needs beside the counts, as columns of the table of a state."""
        return {}

    @abstractmethod
    def of_past(self, past: PastRows, rate: float) -> np.ndarray:
        """Values float64 `(rows,)`.

        Args:
            past: What lies before each row.
            rate: Rate of the action in the training rows.
        """

    def check_in(self, schema: Any) -> None:
        if schema.time_key is None:
            raise ValueError(
                f"{type(self).__name__} `{self.name}` counts rows before a row's time, and the "
                "schema has no time_key. Give the log a column of times, and name it `time_key`."
            )
        features = {f.name: f for f in schema.features}
        if self.action in {schema.user_key, schema.time_key, *self.keys, *features}:
            expected = "a column of 0 and 1, known after the row, that is no feature and no key"
            raise bad(self, "action", self.action, expected)
        late = {schema.time_key, *(task.label for task in schema.tasks)}
        for f in features.values():
            late |= {f.name, f.action} if isinstance(f, PastFeature) else set()
        if wrong := sorted(late & set(self.keys)):
            expected = f"columns of identifiers, known before the row; {wrong[0]!r} is not"
            raise bad(self, "keys", self.keys, expected)
        items = [k for k in self.keys if k in features and features[k].owner == "item"]
        if items and self.owner != "item":
            expected = f"'item': key `{items[0]}` is the item's, and values differ by candidate"
            raise bad(self, "owner", self.owner, expected)
        if wrong := [h.name for h in schema.histories if self.name in h.fields]:
            raise ValueError(
                f"History `{wrong[0]}`: field `{self.name}` is a {type(self).__name__}, which is "
                "computed for rows, not kept with events. Leave it out of `fields`."
            )
