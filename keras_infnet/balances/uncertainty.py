"""Uncertainty: weights by a learned noise of each task."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.balances.balance import Balance, Measured, State, adam, first_moments


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class Uncertainty(Balance):
    """Weights by a learned noise of each task: `w_k = exp(-s_k)`.

    `s` minimises `sum_k exp(-s_k) L_k + s_k / 2` by Adam and starts at 0, so that `w_k` moves from
    1 to `1 / (2 L_k)`: a task counts less the larger its loss is.

    Args:
        learning_rate: Of `s`. Defaults to `None`: that of the model's optimizer, of its dense part
            in `split_optimizer`.

    Raises:
        ValueError: `learning_rate` is not above 0.

    Example:
        >>> keras_infnet.balances.Uncertainty(learning_rate=0.01).learning_rate
        0.01

    Reference:
        Kendall et al., Multi-Task Learning Using Uncertainty, arXiv:1705.07115, the form for
        classification. That `s` has an Adam of its own is our choice.
    """

    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            self.check_above(0)

    def first_state(self, number: int) -> dict[str, np.ndarray]:
        return {"log_noise": np.zeros(number), **first_moments(number)}

    def weights(self, state: State, step: Measured) -> Any:
        return ops.exp(-state["log_noise"])

    def next_state(self, state: State, step: Measured) -> dict[str, Any]:
        gradient = 0.5 - ops.exp(-state["log_noise"]) * step.losses
        rate = step.learning_rate if self.learning_rate is None else self.learning_rate
        change, moments = adam(state, gradient, rate)
        return {"log_noise": state["log_noise"] - change, **moments}
