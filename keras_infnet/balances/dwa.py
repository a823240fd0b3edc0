"""DWA: weights by how fast each task's loss falls."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._base.checks import check_integer
from keras_infnet.balances.balance import TINY, Balance, Measured, State


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class DWA(Balance):
    """Dynamic weight average: a task whose loss falls slowly counts more.

    `w = K softmax(r / temperature)` with `r_k = L_k(t - 1) / L_k(t - 2)`, the mean losses of the
    last window of steps and of the one before. In the first two windows `w_k = 1`; the weights
    always sum to `K`.

    Args:
        temperature: The larger, the more equal the weights. Defaults to `2.0`.
        window: Steps of a window. Defaults to `100`.

    Raises:
        ValueError: `temperature` is not above 0, or `window` is no whole number of 1 or more.

    Example:
        >>> keras_infnet.balances.DWA(window=500).temperature
        2.0

    Reference:
        Liu et al., End-to-End Multi-Task Learning with Attention, arXiv:1803.10704, whose windows
        are epochs; windows of steps, for training of one epoch, are our choice.
    """

    temperature: float = 2.0
    window: int = 100

    def __post_init__(self) -> None:
        self.check_above(0, "temperature")
        check_integer("DWA", "window", self.window, 1)

    def first_state(self, number: int) -> dict[str, np.ndarray]:
        return {name: np.zeros(number) for name in ("total", "last", "before_last")}

    def weights(self, state: State, step: Measured) -> Any:
        last, before = state["last"], state["before_last"]
        known = ops.logical_and(state["step"] >= 2 * self.window, before > 0)
        ratio = ops.where(known, last / ops.maximum(before, TINY), 1.0)
        return ratio.shape[0] * ops.softmax(ratio / self.temperature)

    def next_state(self, state: State, step: Measured) -> dict[str, Any]:
        total = state["total"] + step.losses
        full = ops.equal((state["step"] + 1) % self.window, 0)
        return {
            "total": ops.where(full, 0.0, total),
            "last": ops.where(full, total / self.window, state["last"]),
            "before_last": ops.where(full, state["last"], state["before_last"]),
        }
