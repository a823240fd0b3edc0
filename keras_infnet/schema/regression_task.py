"""RegressionTask: a number, trained with squared error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keras_infnet.schema.task import Task


@dataclass(frozen=True)
class RegressionTask(Task):
    """Any finite number, trained with squared error.

    Args:
        name: Name of the model's output.
        label: Label column. Defaults to `name`.
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label, or a tuple of them: this one counts only where they
            are all 1. Loss, metrics and the data check follow.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.RegressionTask("watch_seconds").units
        1
    """

    monitor: ClassVar[str] = "mse"

    @property
    def activation(self) -> str:
        return "linear"

    def first_bias(self, base_rate: Sequence[float]) -> list[float]:
        return list(base_rate)

    def loss(self) -> Any:
        return "mean_squared_error"

    def metrics(self) -> list[Any]:
        import keras  # pyright: ignore[reportMissingTypeStubs]

        return [keras.metrics.MeanSquaredError(name="mse")]

    def measures(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray,
        groups: Mapping[str, Any],
        weighting: Any = "impressions",
    ) -> dict[str, float]:
        from keras_infnet.metrics.regression_error import regression_measures

        return regression_measures(labels, predictions, weights)
