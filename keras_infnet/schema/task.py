"""Task: the base of all that a model predicts, from labels to losses, metrics and calibration.

Keras and metrics are imported where they are used: a client reads a schema without them.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad, check_different, check_name, check_word
from keras_infnet.schema.canonical import number_values
from keras_infnet.schema.kinds import Kind


@dataclass(frozen=True)
class Task(Kind, ABC):
    """One probability (or value) to predict.

    A kind of task is a class derived from this one: it says what a label may be, how a head starts
    and ends, what is trained and measured, and whether predictions can be calibrated. Everything
    else asks it.

    Args:
        name: Name of the model's output.
        label: Label column. Defaults to `name`.
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label, or a tuple of them: this one counts only where they
            are all 1. Loss, metrics and the data check follow.
    """

    name: str
    label: str | None = None
    loss_weight: float = 1.0
    observed_when: str | tuple[str, ...] | None = None

    # Name of the metric, among `metrics()`, by which a training recipe chooses, and its direction.
    monitor: ClassVar[str]
    # Whether `loss()` may be below 0, so that losses can't be compared by their ratio.
    loss_may_be_negative: ClassVar[bool] = False
    # Whether predictions are probabilities that `Calibration` can correct.
    calibrates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_name(self)
        remedy = "Say `label=` for the column, and call the task"
        check_word(type(self).__name__, "name", self.name, remedy, taken=("index", "score"))
        if self.label is None:
            object.__setattr__(self, "label", self.name)
        if not isinstance(self.label, str):
            raise bad(self, "label", self.label, "a column name")
        self._check_observed_when()
        weight = self.loss_weight
        if not (isinstance(weight, Real) and math.isfinite(weight) and weight >= 0):
            raise bad(self, "loss_weight", weight, "0 or more")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Columns that are all 1 where the label counts."""
        if self.observed_when is None:
            return ()
        return (self.observed_when,) if isinstance(self.observed_when, str) else self.observed_when

    @property
    def counts_unobserved(self) -> bool:
        """Whether rows in which the label is not observed count too, with label 0."""
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the output, in frames of predictions."""
        return (self.name,)

    @property
    def units(self) -> int:
        """Columns of the output, `(batch, units)`."""
        return len(self.columns)

    def read(self, series: pd.Series, observed: np.ndarray, label: str) -> np.ndarray:
        """Labels of a column as float32 `(rows,)`, 0 where they are not observed.

        Args:
            series: The label column.
            observed: Bool `(rows,)`.
            label: The task and its column, for errors.

        Raises:
            ValueError: An observed label is missing, or is none that the task can have.
        """
        values = number_values(series, True, label)
        missing = int(np.isnan(values[observed]).sum())
        if missing:
            raise ValueError(
                f"{label}: {missing} of {int(observed.sum())} observed labels are NaN. Drop the "
                "rows, or say with `observed_when` where the label counts."
            )
        values = np.where(observed, values, np.float32(0))
        self.check(values, series.index, label)
        return values

    def check(self, labels: np.ndarray, rows: pd.Index, label: str) -> None:  # noqa: B027
        """A ValueError if a label (0 where it is not observed) is none that the task can have."""
        return

    def averaged(self, labels: np.ndarray) -> np.ndarray:
        """Float `(rows, units)` whose weighted mean over training rows is the base rate."""
        return labels[:, None]

    @property
    @abstractmethod
    def activation(self) -> str:
        """Keras's name of the function that makes the output of the last layer's sum."""

    @abstractmethod
    def first_bias(self, base_rate: Sequence[float]) -> list[float]:
        """Where the last layer's bias starts, one number a unit: at the base rate."""

    @abstractmethod
    def loss(self) -> Any:
        """Keras's loss of labels `(batch, 1)` and outputs `(batch, units)`."""

    @abstractmethod
    def metrics(self) -> list[Any]:
        """New Keras metrics that training shows."""

    @abstractmethod
    def measures(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray,
        groups: Mapping[str, Any],
        weighting: Any = "impressions",
    ) -> dict[str, float]:
        """What an evaluation reports.

        Args:
            labels: `(rows,)`.
            predictions: `(rows, units)`.
            weights: `(rows,)`, 0 where a label was not observed.
            groups: Keys of each row by the name of a measure within groups, such as `"gauc"`.
            weighting: How groups weigh; see `group_auc`.

        Returns:
            Numbers by name; NaN where one is not defined.
        """

    def _check_observed_when(self) -> None:
        given: Any = self.observed_when
        if given is None or isinstance(given, str):
            return
        is_list = issubclass(type(given), (list, tuple))
        if not is_list or not given or not all(isinstance(column, str) for column in given):
            raise bad(self, "observed_when", given, "a column name, or a tuple of them")
        object.__setattr__(self, "observed_when", tuple(given))
        check_different(self, "observed_when")
