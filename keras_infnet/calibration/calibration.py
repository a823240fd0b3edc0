"""Calibration of probabilities: one monotone map a task, in numpy and as a graph."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from keras import ops

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.calibration.negative_sampling import (
    check_array,
    check_rate,
    without_sampling,
)
from keras_infnet.schema.schema import FeatureSchema

Method = Literal["platt", "isotonic", "temperature", "none"]
METHODS = get_args(Method)

# Probabilities this near to 0 or 1 have no logit of their own in float32.
EPSILON = 1e-7


class Calibration:
    """Calibrated probabilities of tasks, from a model's.

    For each task, with `p` its output `(batch, 1)`:

    - `negative_sampling_rate=w`: `p <- p / (p + (1 - p) / w)`, for a model trained on a share `w`
      of the negatives;
    - `"platt"`: `sigmoid(a logit(p) + b)`, `"temperature"`: `sigmoid(logit(p) / T)`, with `p`
      clipped to [1e-7, 1 - 1e-7];
    - `"isotonic"`: linear between the points `(inputs, outputs)`, constant beyond them.

    Slopes are above 0, so that a task's order of candidates stays; an isotonic map may tie some.
    `fit_calibration` makes one, and `export(..., calibration=...)` builds it into the
    graph.

    Args:
        tasks: Task name -> its map: `method`, `slope`, `intercept`, `inputs`, `outputs` and
            `negative_sampling_rate`, as in `to_dict`. Outputs of other tasks stay as they are.

    Call arguments:
        outputs: Task name -> tensor of probabilities, of any shape.

    Returns:
        Dict with the names of `outputs`, and float32 tensors of their shapes.

    Raises:
        ValueError: A map's argument is unknown or out of range, or a task is not among the outputs.

    Example:
        >>> click = {"method": "platt", "intercept": -1}
        >>> calibration = keras_infnet.calibration.Calibration({"click": click})
        >>> calibration.transform({"click": [0.5]})["click"].round(3).tolist()
        [0.269]

    Reference:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014
        (sampling); Guo et al., arXiv:1706.04599 (Platt scaling, temperature, isotonic regression).
    """

    def __init__(self, tasks: Mapping[str, Any]) -> None:
        self.tasks = {name: _task_calibration(name, given) for name, given in tasks.items()}

    def __call__(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        self._check_known(outputs)
        tasks = self.tasks.items()
        return {**outputs, **{n: task.graph(ops.cast(outputs[n], "float32")) for n, task in tasks}}

    def transform(self, predictions: Any) -> Any:
        """Calibrates a dict of arrays, or the columns of a DataFrame, in float64.

        Raises:
            ValueError: A task is not among the predictions, or a prediction is NaN or outside
                [0, 1].
        """
        self._check_known(predictions)
        calibrated = {
            name: task.numpy(check_array(name, predictions[name]))
            for name, task in self.tasks.items()
        }
        if isinstance(predictions, pd.DataFrame):
            return predictions.assign(**calibrated)
        return {**predictions, **calibrated}

    def to_dict(self) -> dict[str, Any]:
        """The maps as JSON values; `from_dict` reads them."""
        return json.loads(json.dumps({name: asdict(task) for name, task in self.tasks.items()}))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Any]]) -> "Calibration":
        """The calibration that `to_dict` wrote."""
        return cls(plain)

    def check_schema(self, schema: FeatureSchema) -> None:
        """A ValueError for a task that the schema lacks, or that is a regression."""
        for name in self.tasks:
            task = schema.task(name)
            if not task.calibrates:
                raise ValueError(
                    f"Calibration: task `{name}` is a {type(task).__name__}; expected tasks of "
                    "probabilities, such as BinaryTask."
                )

    def _check_known(self, outputs: Any) -> None:
        for name in self.tasks:
            check_known(name, outputs, f"Calibration: task `{name}` is not among the outputs.")


@dataclass(frozen=True)
class TaskCalibration:
    """The map of one task: the correction for sampling, then `method`; numpy beside graph.

    Args:
        method: `"platt"`, `"isotonic"`, `"temperature"`, or `"none"`: the correction alone.
        slope: `a` of `sigmoid(a logit(p) + b)`; `1 / T` of a temperature.
        intercept: `b`.
        inputs: Ascending probabilities between which an isotonic map is linear.
        outputs: What they are mapped to.
        negative_sampling_rate: Share of negatives that training rows kept. Defaults to all.

    Raises:
        ValueError: An argument is out of range.
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    inputs: tuple[float, ...] = ()
    outputs: tuple[float, ...] = ()
    negative_sampling_rate: float | None = None

    def __post_init__(self) -> None:
        check_method(self.method)
        check_rate(self.negative_sampling_rate)
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(
                f"slope={self.slope!r}, intercept={self.intercept!r}; expected finite numbers and "
                "a slope above 0."
            )
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        # In float32, as the graph has them.
        steps, rises = np.diff(np.array(self.inputs, "float32")), np.diff(self.outputs)
        same = len(self.inputs) == len(self.outputs) > 0
        points = same and (steps > 0).all() and (rises >= 0).all()
        if self.method == "isotonic" and not points:
            raise ValueError(
                f"isotonic: {len(self.inputs)} inputs and {len(self.outputs)} outputs; expected "
                "equally many, ascending inputs, and outputs that don't fall."
            )

    def numpy(self, p: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, in float64."""
        p = without_sampling(p, self.negative_sampling_rate)
        if self.method == "none":
            return p
        if self.method == "isotonic":
            return np.interp(p, self.inputs, self.outputs)
        return sigmoid(self.slope * logits_of(p) + self.intercept)

    def graph(self, p: Any) -> Any:
        """Calibrated probabilities of a float32 tensor, by Keras ops."""
        p = without_sampling(p, self.negative_sampling_rate)
        if self.method == "none":
            return p
        if self.method == "isotonic":
            return _interpolate(p, *np.array([self.inputs, self.outputs], "float32"))
        p = ops.clip(p, EPSILON, 1 - EPSILON)
        return ops.sigmoid(self.slope * (ops.log(p) - ops.log1p(-p)) + self.intercept)


def check_method(method: Any) -> None:
    """A ValueError for a method that there is not."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}; expected one of {', '.join(METHODS)}.")


def logits_of(p: np.ndarray) -> np.ndarray:
    """Logits of clipped probabilities."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """`1 / (1 + exp(-z))` without overflow."""
    return (1 + np.tanh(z / 2)) / 2


def _interpolate(p: Any, inputs: np.ndarray, outputs: np.ndarray) -> Any:
    if len(inputs) == 1:
        return ops.full_like(p, outputs[0])
    flat = ops.clip(ops.reshape(p, (-1,)), inputs[0], inputs[-1])
    right = ops.clip(ops.searchsorted(inputs, flat, side="right"), 1, len(inputs) - 1)
    low, high = ops.take(inputs, right - 1), ops.take(inputs, right)
    share = (flat - low) / (high - low)
    below, above = ops.take(outputs, right - 1), ops.take(outputs, right)
    return ops.reshape(below + share * (above - below), ops.shape(p))


def _task_calibration(name: str, given: Any) -> TaskCalibration:
    if isinstance(given, TaskCalibration):
        return given
    known = [field.name for field in fields(TaskCalibration)]
    for argument in given:
        check_known(argument, known, f"Calibration of task `{name}`: `{argument}` is unknown.")
    try:
        return TaskCalibration(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Calibration of task `{name}`: {error}") from error
