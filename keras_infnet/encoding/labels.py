"""Labels and their weights, read from a frame, checked, and summed up to base rates."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keras_infnet.schema.canonical import column, number_values
from keras_infnet.schema.funnel import tasks_before
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.task import Task


def read_labels(
    schema: FeatureSchema, frame: pd.DataFrame
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels and weights of every task.

    A weight is the row's `sample_weight` (1 without one), and 0 where the task is not observed. One
    of the entire space counts in all rows in which the first of its path does, with label 0 where
    a task of the path is not 1.

    Args:
        schema: The schema; its tasks name the columns.
        frame: Rows with all label columns.

    Returns:
        Two dicts by task name, of float32 arrays `(rows,)`. A label that is not observed is 0.

    Raises:
        ValueError: A column is missing, an observed label is NaN or none that its task can have, or
            a weight is negative.
    """
    row_weight = _row_weights(schema, frame)
    labels: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    for task in schema.tasks:
        observed, counted = _rows_of(task, schema, frame)
        label = f"Task `{task.name}`, label `{task.label}`"
        labels[task.name] = task.read(column(frame, str(task.label), label), observed, label)
        weights[task.name] = row_weight * counted
    return labels, weights


@dataclass
class _Sums:
    """What is summed up of one task's labels."""

    labels: np.ndarray
    weight: float = 0.0
    observed: int = 0
    low: float = np.inf
    high: float = -np.inf
    # Labels of 1 beside the path of a task of the entire space, which count as 0.
    beside: int = 0


class LabelSums:
    """Weighted sums of every task's labels, added up chunk by chunk.

    Args:
        schema: The schema; its tasks name the columns.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema, self._rows = schema, 0
        self._sums = {task.name: _Sums(np.zeros(task.units)) for task in schema.tasks}

    def add(self, frame: pd.DataFrame) -> None:
        """Adds the labels of training rows; errors as `read_labels`."""
        labels, weights = read_labels(self._schema, frame)
        self._rows += len(frame)
        for task in self._schema.tasks:
            weight = weights[task.name]
            observed, weight = labels[task.name][weight > 0], weight[weight > 0].astype("float64")
            averaged = task.averaged(observed).astype("float64")
            self._merge(
                task.name,
                _Sums(
                    weight @ averaged,
                    float(weight.sum()),
                    len(observed),
                    float(observed.min(initial=np.inf)),
                    float(observed.max(initial=-np.inf)),
                    _beside(task, self._schema, frame),
                ),
            )

    def merge(self, other: "LabelSums") -> None:
        """Adds the sums of another."""
        self._rows += other._rows
        for name, sums in other._sums.items():
            self._merge(name, sums)

    def base_rates(self) -> dict[str, list[float]]:
        """Weighted mean label of each task, a number for each unit.

        Raises:
            ValueError: A task has no observed label, or all of them are equal.

        Warns:
            UserWarning: Of a task of the entire space, labels are 1 where one before it is not.
        """
        for name, beside in ((n, s.beside) for n, s in self._sums.items() if s.beside):
            task = self._schema.task(name)
            warnings.warn(
                f"Task `{name}`: {beside} of {self._rows} training rows have label `{task.label}` "
                f"1 where what comes before it (observed_when={task.observed_when!r}) is not 1. "
                "They count as 0, the label of the whole path. Look at how the log was joined.",
                stacklevel=4,
            )
        return {task.name: self._base_rate(task) for task in self._schema.tasks}

    def _merge(self, name: str, other: _Sums) -> None:
        mine = self._sums[name]
        self._sums[name] = _Sums(
            mine.labels + other.labels,
            mine.weight + other.weight,
            mine.observed + other.observed,
            min(mine.low, other.low),
            max(mine.high, other.high),
            mine.beside + other.beside,
        )

    def _base_rate(self, task: Task) -> list[float]:
        sums = self._sums[task.name]
        if not sums.observed:
            raise ValueError(
                f"Task `{task.name}`: no label of column `{task.label}` is observed in "
                f"{self._rows} training rows (observed_when={task.observed_when!r}, "
                f"sample_weight={self._schema.sample_weight!r})."
            )
        if sums.low == sums.high:
            raise ValueError(
                f"Task `{task.name}`: all {sums.observed} labels of column `{task.label}` in "
                f"training are {sums.low:g}; nothing can be learned from them."
            )
        # In float32, so that the order of the sum can't show.
        return (sums.labels.astype("float32") / np.float32(sums.weight)).astype("float64").tolist()


def _rows_of(
    task: Task, schema: FeatureSchema, frame: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Bool `(rows,)` twice: where the label is observed, and where the task counts."""
    observed = observed_rows(task, frame)
    if not task.counts_unobserved:
        return observed, observed
    counted = np.ones(len(frame), bool)
    for before in tasks_before(task, schema.tasks):
        on_path, of_first = _rows_of(before, schema, frame)
        observed, counted = observed & on_path, counted & of_first
    return observed, counted


def _beside(task: Task, schema: FeatureSchema, frame: pd.DataFrame) -> int:
    """Number of counted rows with label 1 where the path to the task is not 1 everywhere."""
    if not task.counts_unobserved:
        return 0
    observed, counted = _rows_of(task, schema, frame)
    label = f"Task `{task.name}`, label `{task.label}`"
    found = number_values(column(frame, str(task.label), label), True, label)
    return int(np.sum((found == 1) & counted & ~observed))


def _row_weights(schema: FeatureSchema, frame: pd.DataFrame) -> np.ndarray:
    if schema.sample_weight is None:
        return np.ones(len(frame), "float32")
    label = f"Sample weight `{schema.sample_weight}`"
    values = number_values(column(frame, schema.sample_weight, label), True, label)
    bad = ~(values >= 0)
    if bad.any():
        raise ValueError(f"{label}: {int(bad.sum())} values are negative or missing.")
    return values


def observed_rows(task: Task, frame: pd.DataFrame) -> np.ndarray:
    """Whether the label of a task counts, bool `(rows,)`."""
    observed = np.ones(len(frame), bool)
    for name in task.conditions:
        label = f"Task `{task.name}`, observed_when `{name}`"
        condition = number_values(column(frame, name, label), True, label)
        bad = ~(np.isin(condition, (0, 1)) | np.isnan(condition))
        if bad.any():
            raise ValueError(
                f"{label}: {int(bad.sum())} values are neither 0, 1 nor missing (such as "
                f"{condition[bad][0]:g} in row {frame.index[bad][0]})."
            )
        observed &= condition == 1
    return observed
