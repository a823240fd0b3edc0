"""BinaryTask: the probability of a label that is 0 or 1."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad
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
        entire_space: Whether rows in which it is not observed count too, with label 0: the output
            is then the probability of the whole path, such as click and purchase, in all rows in
            which the first task of the path counts. Needs `observed_when`. Defaults to `False`.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.BinaryTask("buy", observed_when="click").label
        'buy'
    """

    entire_space: bool = False

    monitor: ClassVar[str] = "auc"
    calibrates: ClassVar[bool] = True
    unsaid: ClassVar[dict[str, Any]] = {"entire_space": False}

    def __post_init__(self) -> None:
        super().__post_init__()
        found: Any = self.entire_space
        if not isinstance(found, bool):
            raise bad(self, "entire_space", found, "True or False")
        if found and not self.conditions:
            expected = "False, or `observed_when` with what comes before: without it all rows count"
            raise bad(self, "entire_space", found, expected)

    @property
    def counts_unobserved(self) -> bool:
        return self.entire_space

    def check(self, labels: np.ndarray, rows: pd.Index, label: str) -> None:
        wrong = ~np.isin(labels, (0, 1))
        if wrong.any():
            raise ValueError(
                f"{label}: {int(wrong.sum())} labels are neither 0 nor 1 (such as "
                f"{labels[wrong][0]:g} in row {rows[wrong][0]}). Expected 0 and 1, or a task of "
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
        from keras_infnet.metrics.task_metrics import binary_measures

        return binary_measures(labels, predictions, weights, groups, weighting)
