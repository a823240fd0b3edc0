"""FAMO: weights that let all losses fall at one rate, at the price of a forward pass."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_infnet.balances.balance import TINY, Balance, Measured, State, adam, first_moments

_EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class FAMO(Balance):
    """Weights that let the logarithms of all losses fall alike, learned from what a step did.

    With `z = softmax(v)` and `D_k = L_k + 1e-8`, `w_k = (z_k / D_k) / sum_j (z_j / D_j)`. After the
    step, `D'` of the same batch gives `delta = log D - log D'`, and Adam takes a step on `v` down
    `z * (delta - sum_k z_k delta_k) + gamma v`: the task whose loss fell least gains weight. The
    weights sum to 1. A task without a loss in a batch, such as one without an observed label, is
    left out of its step.

    Args:
        learning_rate: Of `v`. Defaults to `0.025`.
        gamma: Decay of `v`. Defaults to `0.01`.

    Raises:
        ValueError: `learning_rate` is not above 0, or `gamma` is below 0.

    Example:
        >>> keras_infnet.balances.FAMO(gamma=0.001).learning_rate
        0.025

    Reference:
        Liu et al., FAMO: Fast Adaptive Multitask Optimization, arXiv:2306.03792. Its authors clip
        the gradient's norm at 1, which `clipnorm` of the optimizer does. Batches without a loss
        are our choice.
    """

    learning_rate: float = 0.025
    gamma: float = 0.01

    reads_after: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_above(0, "learning_rate")
        self.check_above(-TINY, "gamma")

    def first_state(self, number: int) -> dict[str, np.ndarray]:
        return {"logits": np.zeros(number), **first_moments(number)}

    def weights(self, state: State, step: Measured) -> Any:
        there = ops.cast(step.losses > 0, "float32")
        share = there * ops.softmax(state["logits"]) / (step.losses + _EPSILON)
        return share / ops.maximum(ops.sum(share), TINY)

    def next_state(self, state: State, step: Measured) -> dict[str, Any]:
        there = ops.cast(step.losses > 0, "float32")
        z = ops.softmax(state["logits"]) * there
        fell = ops.log(step.losses + _EPSILON) - ops.log(step.after + _EPSILON)
        mean = ops.sum(z * fell) / ops.maximum(ops.sum(z), TINY)
        gradient = z * (fell - mean) + self.gamma * state["logits"]
        change, moments = adam(state, gradient, self.learning_rate)
        return {"logits": state["logits"] - change, **moments}
