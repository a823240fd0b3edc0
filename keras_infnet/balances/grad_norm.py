"""GradNorm: weights that make the tasks' gradients as large as their training is behind."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_infnet._base.checks import check_integer
from keras_infnet.balances.balance import TINY, Balance, Measured, State, adam, first_moments

# Weights stay above it.
_LEAST = 1e-3


@keras.saving.register_keras_serializable(package="keras_infnet")
@dataclass(frozen=True)
class GradNorm(Balance):
    """Weights that make the tasks' gradients alike, and larger for a task that is behind.

    With `W` the last kernel that all tasks share, `G_k = |w_k dL_k / dW|` and
    `r_k = (L_k / L_k(0)) / mean_j(L_j / L_j(0))`, Adam takes a step on `w` down
    `sum_k |G_k - mean(G) r_k^alpha|`, whose second term is held constant; then `w` is scaled to sum
    to `K`. `L_k(0)` is the mean of the first steps, in which `w_k = 1`.

    Args:
        alpha: The larger, the more a task that is behind counts. Defaults to `1.5`.
        learning_rate: Of `w`. Defaults to `0.025`.
        first_steps: Steps whose mean loss is `L_k(0)`. Defaults to `50`.

    Raises:
        ValueError: `alpha` is below 0, `learning_rate` is not above 0, or `first_steps` is no whole
            number of 1 or more.

    Example:
        >>> keras_infnet.balances.GradNorm(alpha=0.5).alpha
        0.5

    Reference:
        Chen et al., GradNorm, arXiv:1711.02257. `L_k(0)` as a mean, the learning rate, and that
        weights stay above 0.001 before they are scaled, are our choice.
    """

    alpha: float = 1.5
    learning_rate: float = 0.025
    first_steps: int = 50

    reads: ClassVar = "last"

    def __post_init__(self) -> None:
        self.check_above(-TINY, "alpha")
        self.check_above(0, "learning_rate")
        check_integer("GradNorm", "first_steps", self.first_steps, 1)

    def first_state(self, number: int) -> dict[str, np.ndarray]:
        return {"weights": np.ones(number), "first": np.zeros(number), **first_moments(number)}

    def weights(self, state: State, step: Measured) -> Any:
        return state["weights"]

    def next_state(self, state: State, step: Measured) -> dict[str, Any]:
        w, first = state["weights"], state["first"]
        norms = ops.sqrt(ops.diagonal(step.gram))
        rate = ops.where(first > 0, step.losses / ops.maximum(first, TINY), 1.0)
        target = ops.mean(w * norms) * (rate / ops.mean(rate)) ** self.alpha
        change, moments = adam(state, ops.sign(w * norms - target) * norms, self.learning_rate)
        moved = ops.maximum(w - change, _LEAST)
        moved = moved * (w.shape[0] / ops.sum(moved))
        learns = state["step"] >= self.first_steps
        found = {"weights": moved, "first": first, **moments}
        waits = {**state, "first": first + step.losses / self.first_steps}
        return {name: ops.where(learns, found[name], waits[name]) for name in found}
