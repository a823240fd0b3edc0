"""Labels and their weights, checked."""

import numpy as np
import pandas as pd

from keras_infnet.schema.canonical import column, number_values
from keras_infnet.schema.schema import FeatureSchema, Task


def read_labels(
    schema: FeatureSchema, frame: pd.DataFrame
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels and weights of every task.

    A weight is the row's `sample_weight` (1 without one), and 0 where the task is not observed.

    Args:
        schema: The schema; its tasks name the columns.
        frame: Rows with all label columns.

    Returns:
        Two dicts by task name, of float32 arrays `(rows,)`. A label that is not observed is 0.

    Raises:
        ValueError: A column is missing, an observed label is NaN or, in a binary task, neither 0
            nor 1, or a weight is negative.
    """
    row_weight = _row_weights(schema, frame)
    labels, weights = {}, {}
    for task in schema.tasks:
        observed = _observed(task, frame)
        labels[task.name] = _labels(task, frame, observed)
        weights[task.name] = row_weight * observed
    return labels, weights


class LabelSums:
    """Weighted sums of every task's labels, added up chunk by chunk.

    Args:
        schema: The schema; its tasks name the columns.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema, self._rows = schema, 0
        self._sums = {task.name: np.zeros(3) for task in schema.tasks}
        self._range = {task.name: (np.inf, -np.inf) for task in schema.tasks}

    def add(self, frame: pd.DataFrame) -> None:
        """Adds the labels of training rows; errors as `read_labels`."""
        labels, weights = read_labels(self._schema, frame)
        self._rows += len(frame)
        for name, weight in weights.items():
            observed = labels[name][weight > 0].astype("float64")
            weight = weight[weight > 0].astype("float64")
            self._sums[name] += (observed @ weight, weight.sum(), len(observed))
            low, high = self._range[name]
            self._range[name] = observed.min(initial=low), observed.max(initial=high)

    def merge(self, other: "LabelSums") -> None:
        """Adds the sums of another."""
        self._rows += other._rows
        for name, (low, high) in other._range.items():
            self._sums[name] = self._sums[name] + other._sums[name]
            mine = self._range[name]
            self._range[name] = min(low, mine[0]), max(high, mine[1])

    def base_rates(self) -> dict[str, float]:
        """Weighted mean label of each task.

        Raises:
            ValueError: A task has no observed label, or all of them are equal.
        """
        return {task.name: self._base_rate(task) for task in self._schema.tasks}

    def _base_rate(self, task: Task) -> float:
        labels, weights, observed = self._sums[task.name]
        low, high = self._range[task.name]
        if not observed:
            raise ValueError(
                f"Task `{task.name}`: no label is observed in {self._rows} training rows "
                f"(observed_when="
                f"{task.observed_when!r}, sample_weight={self._schema.sample_weight!r})."
            )
        if low == high:
            raise ValueError(
                f"Task `{task.name}`: all {int(observed)} labels of column `{task.label}` in "
                f"training are "
                f"{low:g}; nothing can be learned from them."
            )
        # In float32, so that the order of the sum can't show.
        return float(np.float32(labels) / np.float32(weights))


def learn_base_rates(schema: FeatureSchema, frame: pd.DataFrame) -> dict[str, float]:
    """Weighted mean label of each task over the training rows.

    Raises:
        ValueError: As `read_labels`, or a task has no observed label, or all of them are equal.
    """
    sums = LabelSums(schema)
    sums.add(frame)
    return sums.base_rates()


def _row_weights(schema: FeatureSchema, frame: pd.DataFrame) -> np.ndarray:
    if schema.sample_weight is None:
        return np.ones(len(frame), "float32")
    label = f"Sample weight `{schema.sample_weight}`"
    values = number_values(column(frame, schema.sample_weight, label), True, label)
    bad = ~(values >= 0)
    if bad.any():
        raise ValueError(f"{label}: {int(bad.sum())} values are negative or missing.")
    return values


def _observed(task: Task, frame: pd.DataFrame) -> np.ndarray:
    if task.observed_when is None:
        return np.ones(len(frame), bool)
    label = f"Task `{task.name}`, observed_when `{task.observed_when}`"
    condition = number_values(column(frame, task.observed_when, label), True, label)
    bad = ~(np.isin(condition, (0, 1)) | np.isnan(condition))
    if bad.any():
        raise ValueError(
            f"{label}: {int(bad.sum())} values are neither 0, 1 nor missing (such as "
            f"{condition[bad][0]:g} in row {frame.index[bad][0]})."
        )
    return condition == 1


def _labels(task: Task, frame: pd.DataFrame, observed: np.ndarray) -> np.ndarray:
    label = f"Task `{task.name}`, label `{task.label}`"
    values = number_values(column(frame, task.label, label), True, label)
    missing = int(np.isnan(values[observed]).sum())
    if missing:
        raise ValueError(
            f"{label}: {missing} of {int(observed.sum())} observed labels are NaN. Drop the rows, "
            f"or say with "
            "`observed_when` where the label counts."
        )
    values = np.where(observed, values, np.float32(0))
    if task.kind == "binary":
        bad = ~np.isin(values, (0, 1))
        if bad.any():
            raise ValueError(
                f"{label}: {int(bad.sum())} labels are neither 0 nor 1 (such as "
                f"{values[bad][0]:g} in row "
                f'{frame.index[bad][0]}). Expected 0 and 1, or a task with kind="regression".'
            )
    return values
