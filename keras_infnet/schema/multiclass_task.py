"""MulticlassTask: which of several classes a label is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from keras_infnet._base.checks import as_names, bad, check_different
from keras_infnet.schema.task import Task

_CLIPPED = 1e-7


@dataclass(frozen=True)
class MulticlassTask(Task):
    """The probability of each of several classes, trained with cross entropy.

    `y = softmax(W h + c)`, `(batch, classes)`; predicted and served as columns `task/class`.

    Args:
        name: Name of the model's output.
        label: Label column, whose values are among `classes`. Defaults to `name`.
        loss_weight: Weight of the task in the loss.
        observed_when: Column of another label, or a tuple of them: this one counts only where they
            are all 1. Loss, metrics and the data check follow.
        classes: Values of the label, in the order of the output: all strings or all integers.

    Raises:
        ValueError: An argument is out of range, or there are fewer than two classes.

    Example:
        >>> keras_infnet.MulticlassTask("reaction", classes=["none", "like", "share"]).columns
        ('reaction/none', 'reaction/like', 'reaction/share')
    """

    classes: tuple[str | int, ...] = ()

    monitor: ClassVar[str] = "log_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", as_names(self, "classes", self.classes))
        kinds = {type(value) for value in self.classes}
        if len(self.classes) < 2 or len(kinds) > 1 or not kinds <= {str, int}:
            raise bad(self, "classes", self.classes, "two or more strings, or two or more integers")
        if any("/" in str(value) for value in self.classes):
            raise bad(self, "classes", self.classes, "names without `/`: columns are `task/class`")
        check_different(self, "classes")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}/{value}" for value in self.classes)

    def read(self, series: pd.Series, observed: np.ndarray, label: str) -> np.ndarray:
        values = series
        if pd.api.types.is_bool_dtype(series.dtype):
            values = series.astype("Int8")
        elif series.dtype == "float16":
            # pandas has no index of it.
            values = series.astype("float32")
        found = pd.Index(self.classes).get_indexer(pd.Index(values))
        unknown = np.flatnonzero((found < 0) & observed)
        if len(unknown):
            first = unknown[0]
            raise ValueError(
                f"{label}: {len(unknown)} of {int(observed.sum())} observed labels are none of the "
                f"classes {self.classes} (such as {series.iloc[first]!r} in row "
                f"{series.index[first]}). Declare the class, drop the rows, or say with "
                "`observed_when` where the label counts."
            )
        return np.where(observed, found, 0).astype("float32")

    def averaged(self, labels: np.ndarray) -> np.ndarray:
        return labels[:, None] == np.arange(len(self.classes))

    @property
    def activation(self) -> str:
        return "softmax"

    def first_bias(self, base_rate: Sequence[float]) -> list[float]:
        return [math.log(max(rate, 1e-6)) for rate in base_rate]

    def loss(self) -> Any:
        return "sparse_categorical_crossentropy"

    def metrics(self) -> list[Any]:
        import keras  # pyright: ignore[reportMissingTypeStubs]

        return [
            keras.metrics.SparseCategoricalCrossentropy(name="log_loss"),
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        ]

    def measures(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        weights: np.ndarray,
        groups: Mapping[str, Any],
        weighting: Any = "impressions",
    ) -> dict[str, float]:
        observed = weights > 0
        if not observed.any():
            return {"log_loss": math.nan, "accuracy": math.nan}
        y, p, w = labels[observed].astype("int64"), predictions[observed], weights[observed]
        of_label = np.clip(p[np.arange(len(y)), y], _CLIPPED, 1)
        return {
            "log_loss": float(np.average(-np.log(of_label), weights=w)),
            "accuracy": float(np.average(p.argmax(axis=1) == y, weights=w)),
        }
