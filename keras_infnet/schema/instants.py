"""Instants: time columns and single times of any unit and zone, as Unix milliseconds."""

from dataclasses import dataclass
from datetime import date, datetime
from time import time as now
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.checks import check_choice
from keras_infnet._base.exact import exact_below

Time = int | str | date | datetime | np.datetime64

# What stands for a missing time; as an event's time it is before every other. It is that of NaT.
MISSING_TIME = np.iinfo("int64").min
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UNITS, ORIGINS = (None, *_PER_SECOND), ("unix", None)
# The years 1990 to 2100 in Unix seconds: in no two units are they the same numbers.
_FIRST, _END = 631_152_000, 4_133_980_800
_YEARS = "from 1990 to 2100"
# Dates and times written in digits that pass as times since 1970, by unit: how they are written,
# pandas's format, and the range of each two digits from the right, and of the year.
_MINUTE, _HOUR, _DAY, _MONTH = (0, 59), (0, 23), (1, 31), (1, 12)
_WRITTEN = {
    "s": (
        ("yymmddHHMM", "%y%m%d%H%M", (_MINUTE, _HOUR, _DAY, _MONTH, (0, 99))),
        ("yyyymmddHH", "%Y%m%d%H", (_HOUR, _DAY, _MONTH, (1990, 2100))),
    ),
    "ms": (("yymmddHHMMSS", "%y%m%d%H%M%S", (_MINUTE, _MINUTE, _HOUR, _DAY, _MONTH, (0, 99))),),
}
_ENOUGH = 20
_UNIX_REMEDY = (
    'Convert them, such as with `pandas.to_datetime(column, unit="s")`; the times of a clock of no '
    'known origin need `FeatureSchema(time_unit="ms", time_origin=None)`, with their unit.'
)


@dataclass(frozen=True)
class Instants:
    """How times are read: what they are, inside all is int64 milliseconds.

    Datetimes of any unit and zone are instants; without a zone they are UTC. Integers have the unit
    that is declared, or the one of s, ms, us and ns in which all values of the column are times
    from 1990 to 2100. What is finer than a millisecond is cut off.

    Args:
        unit: Unit of integers. Defaults to what their values tell.
        origin: `"unix"`, or `None` for a clock of no known origin, whose years are not checked.
        dates_of_any_year: Whether datetimes may lie in any year.
        remedy: The end of errors.
    """

    unit: str | None = None
    origin: str | None = "unix"
    dates_of_any_year: bool = False
    remedy: str = _UNIX_REMEDY

    def __post_init__(self) -> None:
        check_choice("FeatureSchema", "time_unit", self.unit, UNITS)
        check_choice("FeatureSchema", "time_origin", self.origin, ORIGINS)
        if self.origin is None and self.unit is None:
            raise ValueError(
                "FeatureSchema: time_origin=None needs a `time_unit`, since nothing else tells the "
                "unit of a clock of no known origin."
            )

    def of_column(self, times: Any, label: str) -> np.ndarray:
        """Milliseconds `(rows,)`, `MISSING_TIME` where a time is missing.

        Args:
            times: A pandas series or an Arrow array.
            label: The column, for errors.

        Raises:
            ValueError: The values are no times, or implausible in every unit.
        """
        return self._read(times, label)[0]

    def unit_of(self, times: Any, label: str) -> str | None:
        """The unit of a column: of its type, declared, or recognised; `None` without a value."""
        return self._read(times, label)[1]

    def of_value(self, time: Time, label: str) -> int:
        """Milliseconds of a single time: a number, a datetime, a date, or a text that is one.

        Raises:
            ValueError: It is no time, or implausible in every unit.
        """
        value: Any = time
        is_number = issubclass(type(value), (int, np.integer)) and not isinstance(value, bool)
        try:
            if not is_number and not issubclass(type(value), (str, date, np.datetime64)):
                raise ValueError("not a time")
            series = pd.Series([value if is_number else pd.Timestamp(value)])
            if series.isna().any():
                raise ValueError("not a time")
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{label} is {time!r}; expected a date such as '2026-11-20', a datetime, or a "
                "whole number of seconds, milliseconds, microseconds or nanoseconds."
            ) from error
        return int(self.of_column(series, f"{label} is {time!r}")[0])

    def _read(self, times: Any, label: str) -> tuple[np.ndarray, str | None]:
        values, unit = _integers(times, label)
        known = values
        if (missing := values == MISSING_TIME).any():
            known = values[~missing]
        if not len(known):
            return values, unit
        low, high = int(known.min()), int(known.max())
        of_dates, is_told = unit is not None, (unit or self.unit) is not None
        unit = unit or self.unit
        if self.origin is not None and not (of_dates and self.dates_of_any_year):
            unit = self._plausible(low, high, unit, of_dates, label)
        assert unit is not None
        if not is_told:
            self._check_not_written(known, low, high, unit, label)
        if (per := _PER_SECOND[unit]) > 1000:
            return np.where(missing, values, values // (per // 1000)), unit
        if max(-low, high) > -MISSING_TIME * per // 1000 - 1:
            raise ValueError(f"{label}: found {max(low, high, key=abs)} {unit}, which is no time.")
        return (values if per == 1000 else np.where(missing, values, values * 1000)), unit

    def _check_not_written(
        self, known: np.ndarray, low: int, high: int, unit: str, label: str
    ) -> None:
        """A ValueError for dates and times written in digits, such as 2611291230.

        All values must read so, and either lie in the future as times since 1970, or be many, of
        several days: a few times of the past may read so by chance.
        """
        for written, pandas_format, ranges in _WRITTEN.get(unit, ()):
            # Of true times since 1970 the ends hardly ever read so, and the others are not asked.
            if not (_reads_so(low, ranges) and _reads_so(high, ranges)):
                continue
            if not np.all(_reads_so(known, ranges)):
                continue
            day = 100 ** ranges.index(_DAY)
            several = high - low >= day and len(np.unique(known)) >= _ENOUGH
            if several or high > (now() + 86_400) * _PER_SECOND[unit]:
                digits = f".astype(str).str.zfill({len(written)})"
                told = f"declare `time_unit={unit!r}`, or " if self.remedy is _UNIX_REMEDY else ""
                raise ValueError(
                    f"{label}: found integers such as {_shown(high, unit)} that all read as dates "
                    f"written {written}. If they are, parse them: `pandas.to_datetime(column"
                    f'{digits}, format="{pandas_format}")`. If they are times since 1970, {told}'
                    f'convert them: `pandas.to_datetime(column, unit="{unit}")`.'
                )

    def _plausible(
        self, low: int, high: int, declared: str | None, of_dates: bool, label: str
    ) -> str:
        """The unit in which both are plausible times."""
        low_unit, high_unit = _recognised(low), _recognised(high)
        if declared is not None:
            first, end = (n * _PER_SECOND[declared] for n in (_FIRST, _END))
            if first <= low and high < end:
                return declared
            worst = low if low < first else high
            what = "datetimes" if of_dates else f"integers of the declared unit {declared}"
            found = f"{what}, of which {_shown(worst, declared)} is not {_YEARS}"
        elif low_unit is not None and low_unit == high_unit:
            return low_unit
        elif None not in (low_unit, high_unit):
            found = f"times of several units, such as {low} ({low_unit}) and {high} ({high_unit})"
        else:
            worst = low if low_unit is None else high
            found = f"{worst}, which is no time {_YEARS} in s, ms, us or ns"
        raise ValueError(f"{label}: found {found}. {self.remedy}")


def _reads_so(values: Any, ranges: tuple[tuple[int, int], ...]) -> Any:
    """Whether the digits of integers, two by two from the right, lie in ranges; the last: rest."""
    good: Any = True
    for low, high in ranges[:-1]:
        two, values = values % 100, values // 100
        good = good & (low <= two) & (two <= high)
    return good & (ranges[-1][0] <= values) & (values <= ranges[-1][1])


def _recognised(time: int) -> str | None:
    """The unit in which a number is a plausible time, if there is one."""
    return next((u for u, n in _PER_SECOND.items() if _FIRST * n <= time < _END * n), None)


def _shown(time: int, unit: str) -> str:
    """A time with its day."""
    return f"{time} ({np.array(time).view(f'M8[{unit}]').astype('M8[D]')})"


def _integers(times: Any, label: str) -> tuple[np.ndarray, str | None]:
    """int64 values, `MISSING_TIME` where missing, and the unit if the type tells it."""
    values, unit = _arrow(times, label), None
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), MISSING_TIME), None
    if pa.types.is_date(kind):
        values = values.cast(pa.timestamp("ms"))
        kind = values.type
    if pa.types.is_timestamp(kind):
        unit = kind.unit
    elif pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
        flat = np.asarray(values.drop_null())
        end = exact_below(flat.dtype)
        if (flat % 1 != 0).any() or (np.abs(flat) >= end).any():
            raise ValueError(
                f"{label}: found values of type {kind} with a fraction, or of "
                f"2**{end.bit_length() - 1} or more, where two times may be one float; expected "
                "datetimes or integers. Convert the column: integers with gaps are `Int64` in "
                "pandas."
            )
    elif not pa.types.is_integer(kind):
        raise _no_times(label, str(kind))
    try:
        values = values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f"{label}: expected times; {error}.") from error
    return np.asarray(pc.fill_null(values, MISSING_TIME) if values.null_count else values), unit


def _arrow(times: Any, label: str) -> pa.Array:
    values = times
    try:
        if issubclass(type(times), pd.Series):
            values = pa.array(times, from_pandas=True)
            is_zoned = pa.types.is_timestamp(values.type) and values.type.tz is not None
            if is_zoned and times.dtype == object:
                # Arrow would read datetimes without a zone in the zone of the others.
                values = pa.array(pd.to_datetime(times, utc=True), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError) as error:
        raise _no_times(label, _kinds(times)) from error
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _kinds(series: pd.Series) -> str:
    return ", ".join(sorted({type(value).__name__ for value in series.dropna().head(1000)}))


def _no_times(label: str, found: str) -> ValueError:
    return ValueError(
        f"{label}: found values of type {found}; expected datetimes, or integers of seconds, "
        "milliseconds, microseconds or nanoseconds. Convert the column, such as with "
        "`pandas.to_datetime`."
    )


def shown(time: int) -> str:
    """A time for an error message: its milliseconds, and the date that they are since 1970."""
    return f"{time} ({np.datetime64(int(time), 'ms').astype('datetime64[s]')})"
