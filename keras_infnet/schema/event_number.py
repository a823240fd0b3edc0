"""EventNumber: a number of a past event, such as its price or the seconds that it was read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import RENAME, bad, check_at_least, check_word
from keras_infnet.schema.canonical import column, number_values
from keras_infnet.schema.event_quantity import EventQuantity, Events
from keras_infnet.schema.number_forms import (
    MOST_BUCKETS,
    STEPS,
    ZERO,
    Interpolate,
    learn_place,
    numbers_as_ids,
    numbers_as_ids_graph,
)
from keras_infnet.schema.programs import Graph, Program, learn_edges
from keras_infnet.schema.value_counts import ValueCounts

# What models call other things that they know of an event.
_TAKEN = ("action", "age", "groups", "match", "position", "ratio", "since_previous", "within")


class PlaceIds(Program):
    """`2^24 + round(2^16 t)` for the place `t` of a number among learned buckets; 0 for NaN.

    The bucket of an id, and its row in a table of `num_ids`, is `1 + floor(t)`.

    Args:
        place: The places.
    """

    def __init__(self, place: Interpolate) -> None:
        self.place = place

    @property
    def num_ids(self) -> int:
        return 2 + (int(self.place.heights[-1]) if len(self.place.heights) else 0)

    def numpy(self, values: Any, label: str = "") -> np.ndarray:
        values = np.asarray(values)
        return numbers_as_ids(self.place.numpy(values), ~np.isnan(values))

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        places = self.place.graph(tf)
        return lambda values: numbers_as_ids_graph(tf, places(values), values == values)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"knots": self.place.knots, "heights": self.place.heights}


@dataclass(frozen=True)
class EventNumber(EventQuantity):
    """A number of an event, such as its price, or the seconds that it was read.

    An event's token adds the embedding of the number's bucket, and `w v` with its place `v` among
    the buckets of the training rows, from -1, the least number, to 1. Unknown (NaN) has an
    embedding of its own, and `v = 0`.

    Args:
        column: Column of the log; requests have `{history}_{column}`. What an event got is no
            feature of the row that it is in.
        buckets: Number of buckets, at most 256, as of a `NumericFeature`; fewer result where there
            are fewer values.

    Raises:
        ValueError: An argument is out of range, or the column has the name of something else that
            is known of events.

    Example:
        >>> keras_infnet.EventNumber("read_seconds").raw_inputs()
        {'read_seconds': 'float32'}
    """

    column: str
    buckets: int = 32

    learns: ClassVar[bool] = True
    is_number: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_word(self, "column", self.column, RENAME)
        if self.column in _TAKEN:
            raise bad(self, "column", self.column, f"another name than one of {_TAKEN}")
        check_at_least(self, buckets=2)
        if self.buckets > MOST_BUCKETS:
            raise bad(self, "buckets", self.buckets, f"at most {MOST_BUCKETS}")

    @property
    def key(self) -> str:  # type: ignore[override]
        return self.column

    @property
    def counted_type(self) -> pa.DataType:
        return pa.float32()

    def packed_size(self, num_ids: int) -> int:
        return ZERO + (num_ids - 2) * STEPS + 1

    def raw_inputs(self) -> dict[str, str]:
        return {self.column: "float32"}

    @property
    def log_columns(self) -> tuple[str, ...]:
        return (self.column,)

    def of_log(self, frame: pd.DataFrame, may_lack: bool, label: str) -> dict[str, pa.Array]:
        if may_lack and self.column not in frame.columns:
            return {self.column: pa.array(np.full(len(frame), np.nan, "float32"))}
        label = f"{label}, number `{self.column}`"
        return {
            self.column: pa.array(number_values(column(frame, self.column, label), True, label))
        }

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        return pa.array(number_values(series, True, label))

    def missing(self) -> Any:
        return np.float32(np.nan)

    def examples(self) -> tuple[Any, Any]:
        return np.float32(0.5), np.float32(0.5)

    def counted(self, events: Events) -> pa.Array:
        return events[self.column]

    def learn(self, counts: ValueCounts) -> Program:
        values, number = counts.increasing()
        edges = learn_edges(values, self.buckets, "quantile", number)
        return PlaceIds(learn_place(values, number, edges))

    def restore(self, arrays: Mapping[str, Any]) -> Program:
        return PlaceIds(Interpolate(arrays["knots"], arrays["heights"]))

    def program(self, learned: Program | None) -> Program:
        assert learned is not None
        return learned
