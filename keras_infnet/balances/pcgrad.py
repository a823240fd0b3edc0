"""PCGrad: conflicting gradients are projected."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_infnet._base.checks import check_integer
from keras_infnet.balances.balance import TINY, Balance, Measured, State

_ORDERS = 1024


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class PCGrad(Balance):
    """Gradients that conflict are projected; shared weights get the sum.

    For each task `k`, `h = g_k`; for the other tasks `j` in random order, where `h . g_j < 0`,
    `h <- h - (h . g_j / |g_j|^2) g_j`. The sum of the `h` is `sum_k w_k g_k` with `w_k >= 1`, and
    the plain sum where no two gradients conflict.

    Args:
        seed: Of the orders, 1024 of which are drawn ahead and go round. Defaults to `0`.

    Raises:
        ValueError: `seed` is no whole number of 0 or more.

    Example:
        >>> keras_infnet.balances.PCGrad().seed
        0

    Reference:
        Yu et al., Gradient Surgery for Multi-Task Learning, arXiv:2001.06782.
    """

    seed: int = 0

    reads: ClassVar = "shared"
    compares_losses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("PCGrad", "seed", self.seed, 0)

    def orders(self, number: int) -> np.ndarray:
        """Int32 `(1024, K, K)`: whose gradients task `k` meets in a step, one after the other."""
        drawn = np.random.default_rng(self.seed).random((_ORDERS, number, number))
        return np.argsort(drawn, axis=-1).astype("int32")

    def weights(self, state: State, step: Measured) -> Any:
        number = step.gram.shape[0]
        orders = ops.take(self.orders(number), state["step"] % _ORDERS, axis=0)
        squares = ops.maximum(ops.diagonal(step.gram), TINY)
        # Row k: h of task k as a combination of all gradients.
        shares = ops.eye(number)
        for turn in range(number):
            met = ops.one_hot(orders[:, turn], number) * (1.0 - ops.eye(number))
            products = ops.sum(ops.matmul(shares, step.gram) * met, axis=1, keepdims=True)
            shares = shares - met * ops.minimum(products, 0.0) / squares
        return ops.sum(shares, axis=0)
