"""SincePrevious: how long after the user's previous event an event was."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.schema.event_quantity import (
    SECONDS_EDGES,
    UNKNOWN_SECONDS,
    EventQuantity,
    seconds_values,
)
from keras_infnet.schema.programs import Bucketize, Program


@dataclass(frozen=True)
class SincePrevious(EventQuantity):
    """Seconds from the user's previous event of the history to this one, in buckets like ages.

    `id = 1 + floor(log2(seconds + 1))` up to 24 days, 22 for more, 0 where unknown: at a user's
    first event, and where one of both times is unknown.

    Example:
        >>> keras_infnet.SincePrevious().raw_inputs()
        {'since_previous_seconds': 'int64'}
    """

    key: ClassVar[str] = "since_previous"

    def raw_inputs(self) -> dict[str, str]:
        return {"since_previous_seconds": "int64"}

    def of_order(self, users: np.ndarray, times: np.ndarray | None) -> dict[str, pa.Array]:
        seconds = np.full(len(users), UNKNOWN_SECONDS, "int64")
        if times is not None and len(users):
            known = times != np.iinfo("int64").min
            both = (users[1:] == users[:-1]) & known[1:] & known[:-1]
            since = np.where(known, times, 0)
            seconds[1:] = np.where(both, np.diff(since) // 1000, UNKNOWN_SECONDS)
        return {"since_previous_seconds": pa.array(seconds)}

    def of_list(self, series: pd.Series, label: str) -> pa.Array:
        return seconds_values(series, label)

    def missing(self) -> Any:
        return UNKNOWN_SECONDS

    def examples(self) -> tuple[Any, Any]:
        return UNKNOWN_SECONDS, 7140

    def program(self, learned: Program | None) -> Program:
        return Bucketize(SECONDS_EDGES, lowest=0)
