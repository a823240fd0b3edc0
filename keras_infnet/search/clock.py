"""Time budget of a search, over all commands that worked on it."""

import math
import re
import statistics
import time
from datetime import timedelta

from keras_infnet.search.folder import SearchFolder

_UNITS = {"s": 1, "m": 60, "h": 3600}


class Clock:
    """Seconds that a search has taken, and whether another trial fits into its budget.

    Args:
        folder: The trials so far; a search that goes on starts at the time of the last one.
        budget: Seconds, or text such as `"90s"`, `"30m"`, `"1.5h"`; `None`: no limit.

    Raises:
        ValueError: The budget is not understood, or not above 0.
    """

    def __init__(self, folder: SearchFolder, budget: str | float | None = None) -> None:
        self.folder = folder
        self.budget = math.inf if budget is None else parse_budget(budget)
        before = max((record["elapsed_seconds"] for record in folder.ended()), default=0.0)
        self._start = time.monotonic() - before

    def elapsed(self) -> float:
        """Seconds since the search began, without the pauses between its commands."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Seconds left of the budget."""
        return max(0.0, self.budget - self.elapsed())

    def trial_seconds(self, unknown: float) -> float:
        """Median duration of the trials that have ended; `unknown` where there is none."""
        durations = [record["seconds"] for record in self.folder.ended()]
        return statistics.median(durations or [unknown])

    def has_room(self) -> bool:
        """Whether a trial of median duration would end within the budget."""
        return self.left() > self.trial_seconds(0.0)

    def time_left(self, trials: int) -> str:
        """How long so many trials still take, in words."""
        left, needed = self.left(), trials * self.trial_seconds(math.inf) if trials else 0.0
        if min(left, needed) == math.inf:
            return "unknown"
        return f"{clock_text(left)} (budget)" if left < needed else clock_text(needed)


def parse_budget(budget: str | float) -> float:
    """Seconds of a budget."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smh]?)\s*", str(budget))
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise ValueError(
            f"ProxySearch: budget is {budget!r}; expected seconds, or a number with s, m or h such "
            "as 30m."
        )
    return seconds


def clock_text(seconds: float) -> str:
    """`12:05`, or `1:02:05`."""
    return re.sub("^0:0?", "", str(timedelta(seconds=round(seconds))))
