"""Balance: the base of all methods that weigh the gradients of tasks, step by step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from keras import ops

from keras_infnet._base.checks import bad

State = Mapping[str, Any]
# Below any loss or squared norm that is not 0.
TINY = 1e-30


@dataclass(frozen=True)
class Measured:
    """What a training step measures for a balance; `K` is the number of tasks.

    Args:
        losses: `(K,)`, above 0: the losses `L_k` of the batch, each times its `loss_weight`.
        gram: `(K, K)`, the products `g_i . g_j` of the gradients that the balance reads. Defaults
            to `None`: it reads none.
        after: `(K,)`, the losses of the same batch after the step. Defaults to `None`.
        learning_rate: That of the model's optimizer. Defaults to `None`.
    """

    losses: Any
    gram: Any = None
    after: Any = None
    learning_rate: Any = None


@dataclass(frozen=True)
class Balance(ABC):
    """How much the gradient of each task counts in the weights that tasks share.

    With the gradients `g_k` of the tasks' losses, weights that several tasks share get
    `sum_k w_k g_k` in each step, and those that one task alone reads get `g_k`. A kind of balance
    says what `w` is: a frozen dataclass with `first_state`, `weights` and `next_state`, of
    `keras.ops` alone. Its state is kept with the optimizer's.
    """

    # Whose gradients `Measured.gram` is of: nobody's, the last kernel that all tasks share, or all
    # shared weights but embedding tables.
    reads: ClassVar[Literal["losses", "last", "shared"]] = "losses"
    # Whether `next_state` needs `Measured.after`.
    reads_after: ClassVar[bool] = False
    # Whether losses must be above 0.
    compares_losses: ClassVar[bool] = True

    def first_state(self, number: int) -> dict[str, np.ndarray]:
        """What the balance remembers before the first step, by name; `number` of tasks."""
        return {}

    @abstractmethod
    def weights(self, state: State, step: Measured) -> Any:
        """The weights `w`, `(K,)`, of a step; `state["step"]` is the number of steps before it."""

    def next_state(self, state: State, step: Measured) -> dict[str, Any]:
        """What the balance remembers after the step."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Balance":
        """The balance that `get_config` described."""
        return cls(**config)

    def check_above(self, least: float, *arguments: str) -> None:
        """Raises a ValueError unless these fields are numbers above `least`."""
        for argument in arguments or [f.name for f in fields(self)]:
            value = getattr(self, argument)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > least:
                raise bad(type(self).__name__, argument, value, f"a number above {least:g}")


def first_moments(number: int) -> dict[str, np.ndarray]:
    """The state that `adam` reads, beside `step`."""
    return {"momentum": np.zeros(number), "velocity": np.zeros(number)}


def adam(state: State, gradient: Any, learning_rate: Any) -> tuple[Any, dict[str, Any]]:
    """What Adam (`b1 = 0.9`, `b2 = 0.999`) subtracts from a vector, and its next moments."""
    m = 0.9 * state["momentum"] + 0.1 * gradient
    v = 0.999 * state["velocity"] + 0.001 * ops.square(gradient)
    steps = ops.cast(state["step"], "float32") + 1.0
    unbiased = [m / (1.0 - 0.9**steps), v / (1.0 - 0.999**steps)]
    change = learning_rate * unbiased[0] / (ops.sqrt(unbiased[1]) + 1e-8)
    return change, {"momentum": m, "velocity": v}
