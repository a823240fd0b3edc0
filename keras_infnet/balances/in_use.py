"""The balance of a compiled model: its tasks, and its state among the optimizer's variables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.balances.balance import Balance, Measured
from keras_infnet.balances.cagrad import CAGrad
from keras_infnet.balances.dwa import DWA
from keras_infnet.balances.famo import FAMO
from keras_infnet.balances.grad_norm import GradNorm
from keras_infnet.balances.pcgrad import PCGrad
from keras_infnet.balances.uncertainty import Uncertainty

_BY_NAME: Mapping[str, type[Balance]] = {
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "famo": FAMO,
}


def balance_of(given: Any) -> Balance | None:
    """The balance of an argument: an object, a name such as `"pcgrad"`, or None."""
    if given is None or isinstance(given, Balance):
        return given
    if not isinstance(given, str):
        raise ValueError(
            f"compile: balance is a {type(given).__name__}; expected one of "
            f"{', '.join(_BY_NAME)}, or an object such as keras_infnet.balances.CAGrad(c=0.4)."
        )
    if given not in _BY_NAME:
        raise ValueError(
            f"compile: unknown balance `{given}`.{did_you_mean(given.lower(), _BY_NAME)}"
        )
    return _BY_NAME[given]()


class BalanceInUse:
    """A balance between the tasks that a compiled model trains.

    Its state lies among the optimizer's variables, so that `.keras` files and checkpoints have it
    as they have moments. A step whose losses or gradients are not finite leaves it as it was.

    Args:
        balance: The balance.
        tasks: The trained tasks, two or more.
        optimizer: The optimizer that the model was compiled with.

    Raises:
        ValueError: There are fewer tasks, a loss may be negative and the balance compares losses,
            or the optimizer can't do it, or holds the state of another balance.
    """

    def __init__(self, balance: Balance, tasks: Sequence[Any], optimizer: Any) -> None:
        self.balance, self.optimizer = balance, optimizer
        self.tasks = tuple(task.name for task in tasks)
        self._check([task.name for task in tasks if task.loss_may_be_negative])
        self._held = self._state_in_optimizer()

    @property
    def weights(self) -> dict[str, float]:
        """The weights `w_k` of the last step by task; 1 before the first."""
        values = ops.convert_to_numpy(self._held["used"]).tolist()
        return dict(zip(self.tasks, values, strict=True))

    @property
    def kind(self) -> str:
        """Name of the balance's class."""
        return type(self.balance).__name__

    @property
    def reads(self) -> str:
        """Whose gradients it compares; see `Balance`."""
        return self.balance.reads

    @property
    def reads_after(self) -> bool:
        """Whether it needs the losses after a step."""
        return self.balance.reads_after

    def weigh(self, losses: Any, gram: Any = None) -> Any:
        """The weights of a step, `(K,)`; see `Measured`."""
        return self.balance.weights(self._state(), Measured(losses, gram))

    def update(self, losses: Any, gram: Any, after: Any, weights: Any) -> None:
        """Moves the state on after a step; see `Measured`."""
        state, rate = self._state(), ops.cast(self.learning_rate, "float32")
        new = self.balance.next_state(state, Measured(losses, gram, after, rate))
        new = {**new, "used": weights, "step": state["step"] + 1}
        parts = [part for part in (losses, gram, after, weights) if part is not None]
        finite = ops.all(ops.stack([ops.all(ops.isfinite(part)) for part in parts]))
        for name, value in new.items():
            self._held[name].assign(ops.where(finite, value, state[name]))

    @property
    def learning_rate(self) -> Any:
        """That of the optimizer; of several, of the one that dense weights have."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        return getattr(optimizer, "optimizers", [optimizer])[-1].learning_rate

    def _state(self) -> dict[str, Any]:
        return {name: ops.convert_to_tensor(v) for name, v in self._held.items()}

    def _check(self, may_be_negative: Sequence[str]) -> None:
        who = self.kind
        if len(self.tasks) < 2:
            found = ", ".join(f"`{task}`" for task in self.tasks) or "none"
            raise ValueError(
                f"compile: balance={who} weighs tasks against each other, and the tasks with a "
                f"loss and a `loss_weight` above 0 are {found}; expected two or more. Leave "
                "`balance` out."
            )
        if may_be_negative and self.balance.compares_losses:
            raise ValueError(
                f"compile: balance={who} compares losses, which must be above 0, and that of task "
                f'`{may_be_negative[0]}` may be below. Take "pcgrad" or "cagrad".'
            )
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        parts = [inner, *getattr(inner, "optimizers", ())]
        if self.balance.reads_after and any(p.gradient_accumulation_steps for p in parts):
            raise ValueError(
                f"compile: balance={who} compares the losses before and after each step, and an "
                "optimizer with `gradient_accumulation_steps` leaves the weights as they are in "
                "most. Take another balance, or larger batches."
            )

    def _state_in_optimizer(self) -> dict[str, Any]:
        known = getattr(self.optimizer, "balance_in_use", None)
        if known is not None:
            if (known.balance, known.tasks) != (self.balance, self.tasks):
                raise ValueError(
                    f"compile: the optimizer holds the state of {known.balance!r} between "
                    f"{', '.join(known.tasks)}. Compile with a new optimizer."
                )
            return known._held
        number = len(self.tasks)
        first = {"used": [1.0] * number, "step": 0, **self.balance.first_state(number)}
        # Not tracked: the optimizer's own variables are these.
        object.__setattr__(self.optimizer, "balance_in_use", self)
        return {name: self._variable(name, value) for name, value in first.items()}

    def _variable(self, name: str, value: Any) -> Any:
        first = np.asarray(value)
        variable = self.optimizer.add_variable(
            first.shape,
            initializer="zeros",
            dtype="int32" if name == "step" else "float32",
            # Every device has computed the same.
            aggregation="only_first_replica",
            name=f"balance_{name}",
        )
        variable.assign(first)
        return variable
