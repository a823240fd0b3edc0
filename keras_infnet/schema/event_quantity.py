"""Event quantities: action, ratio, age and more that is known of a past event besides its item."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet.schema.canonical import column, feedbacks, id_values, number_values
from keras_infnet.schema.kinds import Kind
from keras_infnet.schema.programs import ActionPattern, Bucketize, Graph, GroupBits, Program
from keras_infnet.schema.value_counts import ValueCounts
from keras_infnet.schema.vocabulary import Vocabulary

# Events of a log or a request: canonical values by the name that follows `{history}_` in requests.
Events = Mapping[str, Any]

# Whole seconds, so that the bucket 1 + floor(log2(seconds + 1)) is exact; up to 24 days and older.
SECONDS_EDGES = 2 ** np.arange(1, 22, dtype="int64") - 1
UNKNOWN_SECONDS = -1
RATIO_EDGES = np.array(
    (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0, 1.25, 2.0, 3.0), dtype="float32"
)


def seconds_values(series: pd.Series, label: str) -> pa.Array:
    """Whole seconds from 0 on, -1 where unknown; below it is what comes after the row."""
    values = id_values(series, "int", label)
    below = np.asarray(pc.less(values, UNKNOWN_SECONDS))
    if below.any():
        raise ValueError(
            f"{label}: {int(below.sum())} values are below -1 (such as "
            f"{np.asarray(values)[below][0]}): events after their row. Leave them out of its "
            "history; -1 is unknown."
        )
    return values


@dataclass(frozen=True)
class EventQuantity(Kind, ABC):
    """What is known of a past event besides its item.

    A kind of quantity is a class derived from this one: it says where its values come from (columns
    of the log, the order of events, the time between event and row), what a request calls them, and
    how they become ids, in numpy and as a graph. Everything else asks it.
    """

    # Name among a model's `event_context`; `#{key}` is the column of a packed history.
    key: ClassVar[str]
    # Whether the value depends on the row, so that it is an input of its own, `{history}_{key}`.
    of_row: ClassVar[bool] = False
    # Whether models may embed the ids; group bits are masks instead.
    embedded: ClassVar[bool] = True
    # Whether ids are those of `numbers_as_ids`: places among buckets, which models read as numbers.
    is_number: ClassVar[bool] = False
    # Whether the ids depend on a log; if not, `program(None)` makes them.
    learns: ClassVar[bool] = False

    @staticmethod
    def embedded_keys() -> tuple[str, ...]:
        """Names of all kinds that models may embed; a number has the name of its column instead."""
        kinds = EventQuantity.kinds.values()
        return tuple(kind.key for kind in kinds if kind.embedded and not kind.is_number)

    @abstractmethod
    def raw_inputs(self) -> dict[str, str]:
        """Dtypes of the inputs of a request by what follows `{history}_`; one value an event."""

    @abstractmethod
    def program(self, learned: Program | None) -> Program:
        """The program that makes ids; `learned` is what `learn` returned."""

    @property
    def log_columns(self) -> tuple[str, ...]:
        """Columns of the log that the values are made of."""
        return ()

    def of_log(self, frame: pd.DataFrame, may_lack: bool, label: str) -> dict[str, pa.Array]:
        """Canonical values of the events of a log, one a row.

        Args:
            frame: Events.
            may_lack: Whether missing columns mean "unknown" rather than an error.
            label: The history, for errors.
        """
        return {}

    def of_order(self, users: np.ndarray, times: np.ndarray | None) -> dict[str, pa.Array]:
        """Canonical values that follow from the order of a history's events.

        Args:
            users: int64 `(events,)`, codes that increase.
            times: int64 `(events,)`, milliseconds that increase within a user, the least int64
                where unknown; `None` where no time is known.
        """
        return {}

    def of_time(self, row_times: Any, event_times: Any) -> Any:
        """Raw values from the times of rows and events, in milliseconds, of numpy or TensorFlow."""
        raise NotImplementedError

    @abstractmethod
    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        """Canonical values of a list column, laid flat."""

    def check_order(self, values: pa.Array, bounds: np.ndarray, rows: pd.Index, label: str) -> None:
        """A ValueError if the events of a row are not in the order of time.

        Args:
            values: What `of_list` returned.
            bounds: Where each row's events begin, and the last one's end.
            rows: Index of the frame.
            label: The column, for errors.
        """
        return

    @abstractmethod
    def missing(self) -> Any:
        """What stands for "unknown" in a request."""

    @abstractmethod
    def examples(self) -> tuple[Any, Any]:
        """Values of two events, for an example request."""

    def packed_size(self, num_ids: int) -> int:
        """How many ids a packed history holds, of a quantity whose embedding has `num_ids`."""
        return num_ids

    @property
    def counted_type(self) -> pa.DataType:
        """Type of what is counted."""
        return pa.int64()

    def counted(self, events: Events) -> pa.Array:
        """What is counted of events to learn from, of `counted_type`."""
        raise NotImplementedError

    def learn(self, counts: ValueCounts) -> Program:
        """What is learned from the counts."""
        raise NotImplementedError

    def restore(self, arrays: Mapping[str, Any]) -> Program:
        """What `learn` returned, from the arrays that a file has kept."""
        raise NotImplementedError

    def ids(self, events: Events, learned: Program | None) -> np.ndarray:
        """int32 ids of events, `(events,)`."""
        return self.program(learned).numpy(events[next(iter(self.raw_inputs()))])

    def graph(self, tf: Any, learned: Program | None, resources: list[Any]) -> Graph:
        """A function from the raw tensors of a history, by name, to ids."""
        name = next(iter(self.raw_inputs()))
        ids = self.program(learned).graph(tf, resources)
        return lambda raw: ids(raw[name])


@dataclass(frozen=True)
class Actions(EventQuantity):
    """The feedbacks that an event got, each 0, 1 or unknown: their combination is one id.

    A history makes it from its `actions`.

    Args:
        names: Feedback columns.
    """

    names: tuple[str, ...]

    key: ClassVar[str] = "action"
    learns: ClassVar[bool] = True

    def raw_inputs(self) -> dict[str, str]:
        return dict.fromkeys(self.names, "int64")

    @property
    def log_columns(self) -> tuple[str, ...]:
        return self.names

    def of_log(self, frame: pd.DataFrame, may_lack: bool, label: str) -> dict[str, pa.Array]:
        values: dict[str, pa.Array] = {}
        for name in self.names:
            of_action = f"{label}, action `{name}`"
            if name in frame.columns or not may_lack:
                values[name] = pa.array(feedbacks(column(frame, name, of_action), of_action))
            else:
                values[name] = pa.array(np.full(len(frame), self.missing(), "int64"))
        return values

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        return pa.array(feedbacks(series, label))

    def missing(self) -> Any:
        return -1

    def examples(self) -> tuple[Any, Any]:
        return 0, 1

    def counted(self, events: Events) -> pa.Array:
        return ActionPattern.codes([events[name] for name in self.names])

    def learn(self, counts: ValueCounts) -> Program:
        return ActionPattern(Vocabulary.learn(counts, "int"))

    def restore(self, arrays: Mapping[str, Any]) -> Program:
        return ActionPattern(Vocabulary.restore(arrays))

    def program(self, learned: Program | None) -> Program:
        assert learned is not None
        return learned

    def ids(self, events: Events, learned: Program | None) -> np.ndarray:
        return self.program(learned).numpy([events[name] for name in self.names])

    def graph(self, tf: Any, learned: Program | None, resources: list[Any]) -> Graph:
        ids = self.program(learned).graph(tf, resources)
        return lambda raw: ids([raw[name] for name in self.names])


@dataclass(frozen=True)
class Groups(EventQuantity):
    """Which groups of a history an event belongs to, as bits.

    A history makes it from its `groups`.

    Args:
        actions: The history's feedback columns.
        any_of: For each group, indices of actions of which one must be 1.
        none_of: For each group, indices of actions that must all be known to be 0.
        first: The history's first field, which every event has.
    """

    actions: tuple[str, ...]
    any_of: tuple[tuple[int, ...], ...]
    none_of: tuple[tuple[int, ...], ...]
    first: str

    key: ClassVar[str] = "groups"
    embedded: ClassVar[bool] = False

    def raw_inputs(self) -> dict[str, str]:
        return {}

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        raise NotImplementedError

    def missing(self) -> Any:
        return 0

    def examples(self) -> tuple[Any, Any]:
        return 0, 0

    def program(self, learned: Program | None) -> Program:
        return GroupBits(list(zip(self.any_of, self.none_of, strict=True)))

    def ids(self, events: Events, learned: Program | None) -> np.ndarray:
        actions = [events[name] for name in self.actions]
        return self.program(learned).numpy((len(events[self.first]), actions))

    def graph(self, tf: Any, learned: Program | None, resources: list[Any]) -> Graph:
        ids = self.program(learned).graph(tf, resources)
        return lambda raw: ids((raw[self.first], [raw[name] for name in self.actions]))


@dataclass(frozen=True)
class Ratio(EventQuantity):
    """A ratio of two columns of an event, such as play time and duration, in 13 fixed buckets.

    It is unknown where one of them is, and where the denominator is not above 0.

    Args:
        numerator: Column of the log.
        denominator: Column of the log.

    Example:
        >>> keras_infnet.Ratio("play_ms", "duration_ms").key
        'ratio'
    """

    numerator: str
    denominator: str

    key: ClassVar[str] = "ratio"

    def raw_inputs(self) -> dict[str, str]:
        return {"ratio": "float32"}

    @property
    def log_columns(self) -> tuple[str, ...]:
        return self.numerator, self.denominator

    def of_log(self, frame: pd.DataFrame, may_lack: bool, label: str) -> dict[str, pa.Array]:
        if may_lack and not set(self.log_columns) <= set(frame.columns):
            return {"ratio": pa.array(np.full(len(frame), np.nan, "float32"))}
        top, bottom = (
            number_values(column(frame, name, f"{label}, ratio"), True, f"{label}, ratio `{name}`")
            for name in self.log_columns
        )
        unknown = np.full(len(top), np.nan, "float32")
        return {"ratio": pa.array(np.divide(top, bottom, out=unknown, where=bottom > 0))}

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        return pa.array(number_values(series, True, label))

    def missing(self) -> Any:
        return np.float32(np.nan)

    def examples(self) -> tuple[Any, Any]:
        return np.float32(0.5), np.float32(0.5)

    def program(self, learned: Program | None) -> Program:
        return Bucketize(RATIO_EDGES, lowest=0)


@dataclass(frozen=True)
class Age(EventQuantity):
    """How long before the row an event was, in seconds, in buckets of the logarithm.

    `id = 1 + floor(log2(seconds + 1))` up to 24 days, 22 for older events, 0 where unknown. Seconds
    are whole ones, rounded down, in a log as in a request.

    Example:
        >>> keras_infnet.Age().raw_inputs()
        {'age_seconds': 'int64'}
    """

    key: ClassVar[str] = "age"
    of_row: ClassVar[bool] = True

    def raw_inputs(self) -> dict[str, str]:
        return {"age_seconds": "int64"}

    def of_time(self, row_times: Any, event_times: Any) -> Any:
        return (row_times - event_times) // 1000

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        return seconds_values(series, label)

    def check_order(self, values: pa.Array, bounds: np.ndarray, rows: pd.Index, label: str) -> None:
        seconds = np.asarray(values)
        # Where ages never grow within a row, the known ones do not either.
        is_start = np.zeros(len(seconds) + 1, bool)
        is_start[bounds] = True
        if not ((seconds[1:] > seconds[:-1]) & ~is_start[1:-1]).any():
            return
        known = np.flatnonzero(seconds >= 0)
        row = np.searchsorted(bounds, known, side="right") - 1
        younger_first = (np.diff(seconds[known]) > 0) & (row[1:] == row[:-1])
        if younger_first.any():
            bad = row[1:][younger_first]
            raise ValueError(
                f"{label}: events are out of order in {len(np.unique(bad))} rows (such as row "
                f"{rows[bad[0]]}); expected the oldest event first, so that ages do not grow."
            )

    def missing(self) -> Any:
        return UNKNOWN_SECONDS

    def examples(self) -> tuple[Any, Any]:
        return 7200, 60

    def program(self, learned: Program | None) -> Program:
        return Bucketize(SECONDS_EDGES, lowest=0)
