"""AgeWithin: by which limits of a history's groups an event is younger, exact to the second."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_infnet.schema.event_quantity import Age
from keras_infnet.schema.programs import Bucketize, Program


@dataclass(frozen=True)
class AgeWithin(Age):
    """How many limits the age of an event has reached: `1 + #{limits <= age}`, 0 where unknown.

    A history makes it from its `groups`. Ages are whole seconds, rounded down, in a log as in a
    request: an age is below a limit if and only if its milliseconds are below the limit's.

    Args:
        limits: Increasing ages in seconds.
    """

    limits: tuple[int, ...]

    key: ClassVar[str] = "within"
    embedded: ClassVar[bool] = False

    def program(self, learned: Program | None) -> Program:
        return Bucketize(np.array(self.limits, "int64"), lowest=0)

    def ids_below(self, limit: int | None) -> tuple[int, int]:
        """The least and the largest id of an age below a limit; without one, of all events."""
        if limit is None:
            return 0, len(self.limits) + 1
        return 1, 1 + self.limits.index(limit)
