"""A line of progress: how much is done, how fast, and how long the rest will take."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.2


class Progress:
    """Shows `title: done of total unit, rate, time left`: one moving line, or lines in a log.

    Args:
        title: What is being done.
        unit: What is counted, such as `"rows"`.
        total: How many there are. `None`: not known, so no time left is shown.
        show: Whether anything is written.
        stream: Where to. Defaults to standard error.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        total: int | None = None,
        show: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._unit, self._total, self._clock = title, unit, total, clock
        self._stream = sys.stderr if stream is None else stream
        self._show = show
        self._start = self._shown = clock()
        self._done = self._timed = 0

    def add(self, number: int, timed: bool = True) -> None:
        """Counts what has been done; what an earlier run had finished is not timed."""
        self._done += number
        self._timed += number if timed else 0
        moving = self._stream.isatty()
        wait = _SECONDS_BETWEEN_UPDATES if moving else _SECONDS_BETWEEN_LINES
        if self._show and self._clock() - self._shown >= wait:
            self._shown = self._clock()
            self._write("\r", "\x1b[K") if moving else self._write("", "\n")

    def close(self) -> None:
        """Writes the last line."""
        if self._show:
            self._write("\r" if self._stream.isatty() else "", "\n")

    def _write(self, before: str, after: str) -> None:
        self._stream.write(f"{before}{self}{after}")
        self._stream.flush()

    def __str__(self) -> str:
        seconds = max(self._clock() - self._start, 1e-9)
        rate = self._timed / seconds
        of_total = "" if self._total is None else f" of {self._total:,}"
        text = f"{self._title}: {self._done:,}{of_total} {self._unit}, {rate:,.0f} a second"
        left = (self._total or 0) - self._done
        if left > 0 and rate > 0:
            return f"{text}, {_duration(left / rate)} left"
        return f"{text}, {_duration(seconds)}"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.0f} s"
