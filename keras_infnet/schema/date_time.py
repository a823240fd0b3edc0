"""DateTimeFeature: an instant, as hour, weekday and day of the month in a zone."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.checks import bad
from keras_infnet.schema.canonical import MISSING_INT, column
from keras_infnet.schema.feature import Feature, RawInput
from keras_infnet.schema.instants import MISSING_TIME, Instants
from keras_infnet.schema.programs import Graph, Program
from keras_infnet.schema.value_counts import ValueCounts

_HOUR, _DAY = 3_600_000, 86_400_000
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
# The years 1 to 9999 in milliseconds, and those milliseconds that the seconds of 1990 to 2100 are.
_YEARS = -62_135_596_800_000, 253_402_300_800_000
_SECONDS = 631_152_000, 4_133_980_800
_INSTANTS = Instants(
    dates_of_any_year=True,
    remedy="Convert the column with `pandas.to_datetime(column, unit=...)`: datetimes may be of "
    "any year.",
)


class DateParts(Program):
    """Ids of hour (1 to 24), weekday (25 to 31) and day of the month (32 to 62) of an instant.

    They are 0 where it is missing, or can only be of another unit than milliseconds.

    Args:
        zone: Name of the zone whose clock is read.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        # From `_starts[k]` on the zone's clock is `_offsets[k]` milliseconds ahead of UTC.
        self._starts, self._offsets = _clock(zone)

    @property
    def num_ids(self) -> int:
        return 1 + 24 + 7 + 31

    def numpy(self, values: Any, label: str = "") -> np.ndarray:
        instants = np.asarray(values)
        found = np.searchsorted(self._starts, instants, side="right") - 1
        ids = np.stack(_parts(instants + self._offsets[np.maximum(found, 0)]), axis=-1)
        return np.where(_is_known(instants)[:, None], ids, 0).astype("int32")

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        def ids(values: Any) -> Any:
            flat = tf.reshape(values, [-1])
            found = tf.searchsorted(tf.constant(self._starts), flat, side="right") - 1
            offsets = tf.gather(tf.constant(self._offsets), tf.maximum(found, 0))
            local = values + tf.reshape(offsets, tf.shape(values))
            parts = tf.cast(tf.stack(_parts(local), axis=-1), "int32")
            return tf.where(_is_known(values)[..., None], parts, 0)

        return ids


@dataclass(frozen=True)
class DateTimeFeature(Feature):
    """An instant, embedded as the mean of its hour, its weekday and its day of the month.

    A column holds datetimes of any unit and zone (those without a zone are taken as UTC), or
    integers of seconds, milliseconds, microseconds or nanoseconds, whichever makes all of them
    times from 1990 to 2100; `-1` and NaT are missing.

    Requests hold Unix milliseconds, to which `Client` converts other units. A graph can't refuse
    what another caller sends: seconds, which as milliseconds lie between January 8 and February 17,
    1970, count as missing, and so do micro- and nanoseconds. Dates within these weeks are missing
    everywhere.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        zone: Zone whose clock and calendar are read, such as `"Europe/Lisbon"`.

    Raises:
        ValueError: The zone is unknown.

    Example:
        >>> keras_infnet.DateTimeFeature("time_ms", "context", zone="Asia/Shanghai").width
        3
    """

    zone: str = "UTC"

    packed: ClassVar[str] = "bags"
    unit: ClassVar[str | None] = "milliseconds since 1970-01-01 00:00 UTC"
    # The hour: of the day itself there is one weekday and one day of the month.
    compared_columns: ClassVar[slice] = slice(1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_zone(self)

    @property
    def width(self) -> int:
        return 3

    @property
    def fixed_size(self) -> int | None:
        return DateParts(self.zone).num_ids

    def values(self, series: pd.Series, dtype: str | None, label: str) -> pa.Array:
        integers = _INSTANTS.of_column(_without_gaps(series), label)
        return pa.array(np.where(integers == MISSING_TIME, MISSING_INT, integers))

    def listed(self, values: pa.Array) -> pa.Array:
        known = pc.if_else(pc.equal(values, MISSING_INT), None, values)
        return known.cast(pa.timestamp("ms", "UTC"))

    def sent(self, values: np.ndarray, label: str) -> np.ndarray:
        return np.asarray(self.values(pd.Series(values.ravel()), None, label)).reshape(values.shape)

    def raw_inputs(self, dtype: str | None) -> dict[str, RawInput]:
        return {self.name: ((), "int64")}

    def missing(self, dtype: str | None) -> Any:
        return MISSING_INT

    def learn(self, counts: ValueCounts | None, dtype: str | None) -> Program | None:
        return DateParts(self.zone)

    def restore(self, arrays: Mapping[str, Any], dtype: str | None) -> Program | None:
        return DateParts(self.zone)

    def pack(self, values: pa.Array, program: Program | None, label: str) -> np.ndarray:
        assert program is not None
        return program.numpy(values, label)

    def pack_graph(self, tf: Any, lookup: Graph | None, raw: Any) -> Any:
        assert lookup is not None
        return lookup(raw)

    def encode(
        self, frame: pd.DataFrame, program: Program | None, dtype: str | None
    ) -> dict[str, np.ndarray]:
        values = self.values(column(frame, self.name, self.label), dtype, self.label)
        ids = self.pack(values, program, self.label)
        return {"bags": ids, "bag_weights": (ids != 0).astype("float32")}

    def encode_graph(self, tf: Any, lookup: Graph | None, raw: Mapping[str, Any]) -> dict[str, Any]:
        ids = self.pack_graph(tf, lookup, raw[self.name])
        return {"bags": ids, "bag_weights": tf.cast(ids != 0, "float32")}

    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        return {self.name: np.array([1_767_225_600_000, 1_782_820_800_000])}


def check_zone(part: Any) -> None:
    """A ValueError unless the `zone` of an object is one of the time zone database."""
    try:
        ZoneInfo(part.zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        expected = 'a zone of the time zone database, such as "Europe/Lisbon"'
        raise bad(part, "zone", part.zone, expected) from error


def midnights(instants: np.ndarray, zone: str) -> np.ndarray:
    """The first milliseconds of the days of instants, by the calendar of a zone."""
    starts, offsets = _clock(zone)

    def ahead(times: np.ndarray) -> np.ndarray:
        return offsets[np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)]

    local = instants + ahead(instants)
    midnight = local - local % _DAY
    # At midnight the clock may have been another than at the instant.
    return midnight - ahead(midnight - ahead(instants))


def _without_gaps(series: pd.Series) -> pd.Series:
    """The column with `-1` of integers as missing."""
    if pd.api.types.is_integer_dtype(series.dtype):
        gaps = np.asarray(series.eq(MISSING_INT).fillna(False), bool)
        return series.astype("Int64").mask(gaps) if gaps.any() else series
    return series


def _is_known(instants: Any) -> Any:
    """Whether milliseconds are instants: not missing, and not what other units look like."""
    in_years = (instants >= _YEARS[0]) & (instants < _YEARS[1])
    are_seconds = (instants >= _SECONDS[0]) & (instants < _SECONDS[1])
    return in_years & ~are_seconds & (instants != MISSING_INT)


def _parts(local: Any) -> list[Any]:
    """Ids of hour, weekday and day of the month of local milliseconds, in numpy or TensorFlow."""
    days = local // _DAY
    hour, weekday = (local % _DAY) // _HOUR, (days + 3) % 7
    # Days since March 1 of the year 0, in eras of 400 years, years and months from March on.
    of_era = (days + 719_468) % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5
    return [1 + hour, 25 + weekday, 32 + day]


@functools.cache
def _clock(zone: str) -> tuple[np.ndarray, np.ndarray]:
    """When the zone's clock was set anew, and how far ahead of UTC it is since, in milliseconds."""
    clock = ZoneInfo(zone)

    def offset(instant: datetime) -> timedelta:
        return clock.utcoffset(instant.astimezone(clock)) or timedelta(0)

    day, last = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)
    starts, offsets = [np.iinfo("int64").min], [offset(day)]
    while day < last:
        following = day + timedelta(days=1)
        if offset(following) != offsets[-1]:
            before, after = day, following
            while after - before > timedelta(seconds=1):
                middle = before + (after - before) // 2
                middle = middle.replace(microsecond=0)
                same = offset(middle) == offsets[-1]
                before, after = (middle, after) if same else (before, middle)
            starts.append(int(after.timestamp()) * 1000)
            offsets.append(offset(following))
        day = following
    milliseconds = [int(each.total_seconds() * 1000) for each in offsets]
    return np.array(starts, "int64"), np.array(milliseconds, "int64")
