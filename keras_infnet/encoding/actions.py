"""Actions of features of the past, read from a log, and their rates in training rows."""

import numpy as np
import pandas as pd

from keras_infnet.encoding.labels import observed_rows
from keras_infnet.schema.canonical import MISSING_INT, column, feedbacks
from keras_infnet.schema.schema import FeatureSchema


def read_action(schema: FeatureSchema, frame: pd.DataFrame, action: str) -> np.ndarray:
    """int8 `(rows,)`: 1 or 0, and -1 where it is missing or its task is not observed.

    Raises:
        ValueError: There is no such column, or it holds other values.
    """
    name = next(f.name for f in schema.past if f.action == action)
    label = f"Feature `{name}`, action `{action}`"
    values = feedbacks(column(frame, action, label), label).astype("int8")
    tasks = [task for task in schema.tasks if task.label == action]
    if tasks:
        observed = np.any([observed_rows(task, frame) for task in tasks], axis=0)
        values[~observed] = MISSING_INT
    return values


class ActionSums:
    """How often each action of a feature of the past is known and 1, added up chunk by chunk.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._sums = {f.action: (0, 0) for f in schema.past if f.action is not None}

    def add(self, frame: pd.DataFrame) -> None:
        """Adds training rows; errors as `read_action`."""
        for action in self._sums:
            values = read_action(self._schema, frame, action)
            self._merge(action, int((values >= 0).sum()), int((values == 1).sum()))

    def merge(self, other: "ActionSums") -> None:
        """Adds the sums of another."""
        for action, (known, ones) in other._sums.items():
            self._merge(action, known, ones)

    def rates(self) -> dict[str, float]:
        """Rate of each action.

        Raises:
            ValueError: An action is known in no training row.
        """
        for action, (known, _) in self._sums.items():
            if not known:
                name = next(f.name for f in self._schema.past if f.action == action)
                raise ValueError(
                    f"Feature `{name}`, action `{action}`: no training row has a value; expected "
                    "some 0 and 1, of which the rate is the prior."
                )
        return {action: ones / known for action, (known, ones) in self._sums.items()}

    def _merge(self, action: str, known: int, ones: int) -> None:
        mine = self._sums[action]
        self._sums[action] = (mine[0] + known, mine[1] + ones)
