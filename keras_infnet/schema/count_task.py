"""CountTask: an expected count, such as orders or seconds watched."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from keras_infnet.schema.task import Task


@dataclass(frozen=True)
class CountTask(Task):
    """The expected value of a label that is 0 or more, trained with the Poisson loss.

    `y = exp(min(w h + c, 60))`, with the loss `y - label log y`. Labels need not be whole numbers:
    seconds watched are a count too.

    Args:
        name: Name of the model's output.
        label: Label column, 0 or more. Defaults to `name`.
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label, or a tuple of them: this one counts only where they
            are all 1. Loss, metrics and the data check follow.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.CountTask("orders").activation
        'exponential'
    """

    monitor: ClassVar[str] = "poisson_loss"
    loss_may_be_negative: ClassVar[bool] = True

    def check(self, labels: np.ndarray, rows: pd.Index, label: str) -> None:
        bad = labels < 0
        if bad.any():
            raise ValueError(
                f"{label}: {int(bad.sum())} labels are negative (such as {labels[bad][0]:g} in row "
                f"{rows[bad][0]}). Expected counts, 0 or more, or a RegressionTask."
            )

    @property
    def activation(self) -> str:
        return "exponential"

    def first_bias(self, base_rate: Sequence[float]) -> list[float]:
        return [math.log(max(rate, 1e-6)) for rate in base_rate]

    def loss(self) -> Any:
        return "poisson"

    def metrics(self) -> list[Any]:
        import keras  # pyright: ignore[reportMissingTypeStubs]

        return [keras.metrics.Poisson(name="poisson_loss")]

    def measures(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray,
        groups: Mapping[str, Any],
        weighting: Any = "impressions",
    ) -> dict[str, float]:
        from keras_infnet.metrics.observed_rows import observed_rows
        from keras_infnet.metrics.regression_error import mean_absolute_error

        y, p, w, _ = observed_rows(labels, predictions, weights)
        # As Keras has it: no logarithm of 0.
        loss = p - y * np.log(p + 1e-7)
        ratio = np.where(y > 0, y, 1) / np.where(y > 0, p, 1)
        deviance = 2 * (np.where(y > 0, y * np.log(ratio), 0) - y + p)
        return {
            "poisson_loss": float(np.average(loss, weights=w)) if len(y) else math.nan,
            "poisson_deviance": float(np.average(deviance, weights=w)) if len(y) else math.nan,
            "mae": mean_absolute_error(labels, predictions, weights),
        }
