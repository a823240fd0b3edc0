"""ListLoss: the base of losses that compare the rows of a list, mixed with cross entropy."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

# Keras's own cross entropy clips here, too.
_EPSILON = 1e-7


@dataclass(frozen=True)
class ListRows:
    """The rows of a batch as a list loss reads them.

    Args:
        logits: `s`, `(rows, 1)` float32, `sigmoid(s)` the prediction, between -16 and 16.
        labels: `y`, `(rows, 1)`, 0 or 1.
        weights: `w`, `(rows, 1)`, 0 where a label was not observed.
        same: Bool `(rows, rows)`: both rows count and are in one list.
        number: Number of rows, without those that fill the batch up.
    """

    logits: Any
    labels: Any
    weights: Any
    same: Any
    number: Any

    @property
    def listed(self) -> Any:
        """Bool `(rows, 1)`: whether the row counts and is in a list."""
        return ops.any(self.same, axis=1, keepdims=True)


class ListLoss(keras.losses.Loss):
    """`(1 - a) cross entropy + a L`, `L` a loss of rows that are compared within their list.

    A kind of list loss is a class derived from this one with its `of_lists`. A row of weight 0,
    whose label was not observed, is in no list and no pair, and so is a row without a list.

    Args:
        list_weight: `a`, from 0 to 1.
        name: Name of the loss. Defaults to `None`: that of the class.

    Call arguments:
        y_true: `(rows, 2)` in training: labels 0 or 1, and a code of the row's list, a whole number
            below 2^24 (-1: in none; -2: no row, fills the batch up). Or labels alone, `(rows, 1)`,
            as in an evaluation, whose loss is the cross entropy.
        y_pred: Probabilities, `(rows, 1)`.
        sample_weight: `(rows,)` or `(rows, 1)`. Defaults to 1.

    Returns:
        Scalar, a mean over the rows (cross entropy), and as the subclass says (`L`).

    Raises:
        ValueError: `list_weight` is not from 0 to 1.
    """

    def __init__(self, list_weight: float, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= list_weight <= 1:
            raise ValueError(
                f"{type(self).__name__}: list_weight is {list_weight!r}; expected a number from 0 "
                "(cross entropy alone) to 1 (the lists alone)."
            )
        self.list_weight = list_weight

    @property
    def needs_lists(self) -> bool:
        """Whether rows are compared within lists; if not, all of a batch are one."""
        return True

    @abstractmethod
    def of_lists(self, rows: ListRows) -> Any:
        """`L` of a batch, a scalar; 0 where there is nothing to compare."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, p = (ops.convert_to_tensor(x, "float32") for x in (y_true, y_pred))
        labels = y_true[:, :1]
        weights = ops.ones_like(labels)
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        of_row: Any = keras.losses.binary_crossentropy(labels, p)
        entropy = weights * of_row[:, None]
        if y_true.shape[-1] == 1:
            return ops.mean(entropy)
        lists = y_true[:, 1:]
        counted = ops.logical_and(weights > 0, lists >= 0)
        same = ops.logical_and(ops.equal(lists, ops.transpose(lists)), counted)
        same = ops.logical_and(same, ops.transpose(counted))
        number = ops.maximum(ops.sum(ops.cast(lists > -2, "float32")), 1.0)
        rows = ListRows(_logit(p), labels, weights, same, number)
        entropy = ops.sum(entropy) / number
        return (1 - self.list_weight) * entropy + self.list_weight * self.of_lists(rows)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"list_weight": self.list_weight, "name": self.name}


def _logit(p: Any) -> Any:
    """`log(p / (1 - p))`, its gradient times the sigmoid's is 1."""
    p = ops.clip(p, _EPSILON, 1 - _EPSILON)
    return ops.log(p) - ops.log1p(-p)
