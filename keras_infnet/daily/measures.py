"""Measures: those of every task on labelled rows, each with its standard error over users."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.labels import read_labels
from keras_infnet.metrics.block_jackknife import block_jackknife
from keras_infnet.metrics.task_metrics import calibration_measures
from keras_infnet.schema.canonical import column, user_codes
from keras_infnet.schema.schema import FeatureSchema

# By task and measure, a value and its standard error.
Measured = dict[str, dict[str, tuple[float, float]]]


class LabelledRows:
    """Rows with labels, on which predictions are measured.

    Args:
        schema: The schema.
        frame: Rows with users and labels.
    """

    def __init__(self, schema: FeatureSchema, frame: pd.DataFrame) -> None:
        self._schema = schema
        self._labels, self._weights = read_labels(schema, frame)
        label = f"user key `{schema.user_key}`"
        self._users = user_codes(column(frame, schema.user_key, label), label)
        # A row of nobody is a user of its own.
        nobody = -2 - np.arange(len(frame))
        self.blocks_of = np.where(self._users < 0, nobody, self._users)

    def __len__(self) -> int:
        return len(self._users)

    def values(
        self,
        predicted: pd.DataFrame,
        rows: np.ndarray,
        calibration: bool = False,
        gauc: bool = True,
    ) -> dict[str, dict[str, float]]:
        """Measures of some rows, bool `(rows,)`, by task."""
        found: dict[str, dict[str, float]] = {}
        for task in self._schema.tasks:
            labels, weights = self._labels[task.name][rows], self._weights[task.name][rows]
            outputs = predicted[list(task.columns)].to_numpy()[rows]
            users = {"gauc": self._users[rows]} if gauc else {}
            found[task.name] = task.measures(labels, outputs, weights, users)
            if calibration and task.calibrates:
                found[task.name] |= calibration_measures(labels, outputs, weights)
                found[task.name] |= _means(labels, outputs, weights)
        return found

    def with_errors(self, predicted: pd.DataFrame, within: np.ndarray | None = None) -> Measured:
        """Measures, calibration too, with their standard errors.

        Args:
            predicted: Predictions of all rows.
            within: Which rows are measured, bool `(rows,)`. Defaults to all.
        """
        inside = np.ones(len(self), bool) if within is None else within
        if not inside.any():
            return {}
        names = [
            (task, name)
            for task, measures in self.values(predicted, inside, calibration=True).items()
            for name in measures
        ]

        def measure(kept: np.ndarray) -> list[float]:
            rows = inside.copy()
            rows[inside] = kept
            measured = self.values(predicted, rows, calibration=True)
            return [measured[task][name] for task, name in names]

        values, errors = block_jackknife(measure, self.blocks_of[inside])
        found: Measured = {}
        for (task, name), value, error in zip(names, values, errors, strict=True):
            found.setdefault(task, {})[name] = (float(value), float(error))
        return found


def plain(measured: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, Any]:
    """As JSON has it: NaN is null."""
    return {
        task: {name: [None if np.isnan(x) else x for x in pair] for name, pair in measures.items()}
        for task, measures in measured.items()
    }


def _means(labels: Any, outputs: Any, weights: Any) -> dict[str, float]:
    if not weights.sum():
        return {"mean_label": float("nan"), "mean_prediction": float("nan")}
    labels, outputs, weights = (
        np.asarray(part, "float64").ravel() for part in (labels, outputs, weights)
    )
    return {
        "mean_label": float(np.average(labels, weights=weights)),
        "mean_prediction": float(np.average(outputs, weights=weights)),
    }
