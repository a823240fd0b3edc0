"""BinaryTask: the probability of a label that is 0 or 1."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from keras_infnet.schema.task import Task


@dataclass(frozen=True)
class BinaryTask(Task):
    """The probability that a label is 1, trained with cross entropy.

    Args:
        name: Name of the model's output.
        label: Label column, of 0 and 1. Defaults to `name`.
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label, or a tuple of them: this one counts only where they
            are all 1. Loss, metrics and the data check follow.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.BinaryTask("buy", observed_when="click").label
        'buy'
    """

    monitor: ClassVar[str] = "auc"
    calibrates: ClassVar[bool] = True

    def check(self, labels: np.ndarray, rows: pd.Index, label: str) -> None:
        bad = ~np.isin(labels, (0, 1))
        if bad.any():
            raise ValueError(
                f"{label}: {int(bad.sum())} labels are neither 0 nor 1 (such as "
                f"{labels[bad][0]:g} in row {rows[bad][0]}). Expected 0 and 1, or a task of "
                "another kind, such as RegressionTask."
            )

    @property
    def activation(self) -> str:
        return "sigmoid"

    def first_bias(self, base_rate: Sequence[float]) -> list[float]:
        rates = [min(max(rate, 1e-6), 1 - 1e-6) for rate in base_rate]
        return [math.log(rate / (1 - rate)) for rate in rates]

    def loss(self) -> Any:
        return "binary_crossentropy"

    def metrics(self) -> list[Any]:
        from keras_infnet.metrics.auc import AUC

        return [AUC()]

    def measures(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray,
        groups: Mapping[str, Any],
        weighting: Any = "impressions",
    ) -> dict[str, float]:
        from keras_infnet.metrics.auc import auc
        from keras_infnet.metrics.group_auc import group_auc
        from keras_infnet.metrics.log_loss import log_loss

        within = {
            name: group_auc(labels, predictions, keys, weighting, weights)
            for name, keys in groups.items()
        }
        return {
            "auc": auc(labels, predictions, weights),
            **within,
            "log_loss": log_loss(labels, predictions, weights),
        }
