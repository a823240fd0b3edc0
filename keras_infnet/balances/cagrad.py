"""CAGrad: near the mean gradient, the direction that helps the task worst off."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from keras_infnet.balances.balance import TINY, Balance, Measured, State

_STEPS, _RATE = 50, 2.0


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class CAGrad(Balance):
    """Within a ball around the mean gradient, the direction that helps the task worst off.

    With `g0 = mean_k g_k` and `g_v = sum_k v_k g_k`, `v` on the simplex minimises
    `g_v . g0 + c |g0| |g_v|`, and shared weights get `(g0 + c |g0| g_v / |g_v|) / (1 + c^2)`.

    Args:
        c: Radius of the ball, in lengths of `g0`; 0: the mean. Defaults to `0.4`.

    Raises:
        ValueError: `c` is below 0.

    Example:
        >>> keras_infnet.balances.CAGrad(c=0.2).c
        0.2

    Reference:
        Liu et al., Conflict-Averse Gradient Descent, arXiv:2110.14048. The division is LibMTL's.
        That `v` is found by 50 steps of exponentiated gradient is our choice.
    """

    c: float = 0.4

    reads: ClassVar = "shared"
    compares_losses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.check_above(-TINY)

    def weights(self, state: State, step: Measured) -> Any:
        number = step.gram.shape[0]
        # `w` does not change with the length of all gradients.
        gram = step.gram / ops.maximum(ops.trace(step.gram) / number, TINY)
        with_mean = ops.mean(gram, axis=1)
        radius = self.c * ops.sqrt(ops.maximum(ops.mean(gram), 0.0))

        def length(v: Any) -> Any:
            return ops.sqrt(ops.maximum(ops.sum(v * ops.matmul(gram, v)), 1e-12))

        def descend(_: Any, logits: Any) -> Any:
            v = ops.softmax(logits)
            return logits - _RATE * (with_mean + radius * ops.matmul(gram, v) / length(v))

        v = ops.softmax(ops.fori_loop(0, _STEPS, descend, ops.zeros((number,))))
        return (1.0 / number + radius * v / length(v)) / (1.0 + self.c**2)
