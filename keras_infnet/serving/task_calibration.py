"""The calibration of one task: a monotone map of probabilities, in numpy and as Keras ops."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops

from keras_infnet.serving.negative_sampling import check_rate, correct_negative_sampling

Method = Literal["platt", "isotonic", "temperature", "none"]
METHODS = ("platt", "isotonic", "temperature", "none")

# Probabilities this near to 0 or 1 have no logit of their own in float32.
EPSILON = 1e-7


@dataclass(frozen=True)
class TaskCalibration:
    """The map of one task: the correction for sampling, then `method`.

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
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r}; expected one of {', '.join(METHODS)}.")
        check_rate(self.negative_sampling_rate)
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(
                f"slope={self.slope!r}, intercept={self.intercept!r}; expected finite numbers and "
                "a slope above 0."
            )
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if self.method == "isotonic":
            self._check_points()

    def _check_points(self) -> None:
        # In float32, as the graph has them.
        steps = np.diff(np.asarray(self.inputs, "float32"))
        rises = np.diff(self.outputs)
        same = len(self.inputs) == len(self.outputs) > 0
        if not same or not (steps > 0).all() or not (rises >= 0).all():
            raise ValueError(
                f"isotonic: {len(self.inputs)} inputs and {len(self.outputs)} outputs; expected "
                "equally many, ascending inputs, and outputs that don't fall."
            )


def calibrate_array(task: TaskCalibration, p: np.ndarray) -> np.ndarray:
    """Calibrated probabilities, in float64."""
    if task.negative_sampling_rate is not None:
        p = correct_negative_sampling(p, task.negative_sampling_rate)
    if task.method == "none":
        return p
    if task.method == "isotonic":
        return np.interp(p, task.inputs, task.outputs)
    return sigmoid(task.slope * logits_of(p) + task.intercept)


def calibrate_tensor(task: TaskCalibration, p: Any) -> Any:
    """Calibrated probabilities of a float32 tensor, by Keras ops."""
    if task.negative_sampling_rate is not None:
        p = p / (p + (1 - p) / task.negative_sampling_rate)
    if task.method == "none":
        return p
    if task.method == "isotonic":
        return _interpolate(p, np.float32(task.inputs), np.float32(task.outputs))
    p = ops.clip(p, EPSILON, 1 - EPSILON)
    return ops.sigmoid(task.slope * (ops.log(p) - ops.log1p(-p)) + task.intercept)


def _interpolate(p: Any, inputs: np.ndarray, outputs: np.ndarray) -> Any:
    if len(inputs) == 1:
        return ops.full_like(p, outputs[0])
    flat = ops.clip(ops.reshape(p, (-1,)), inputs[0], inputs[-1])
    right = ops.clip(ops.searchsorted(inputs, flat, side="right"), 1, len(inputs) - 1)
    low, high = ops.take(inputs, right - 1), ops.take(inputs, right)
    share = (flat - low) / (high - low)
    below, above = ops.take(outputs, right - 1), ops.take(outputs, right)
    return ops.reshape(below + share * (above - below), ops.shape(p))


def logits_of(p: np.ndarray) -> np.ndarray:
    """Logits of clipped probabilities."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """`1 / (1 + exp(-z))` without overflow."""
    return (1 + np.tanh(z / 2)) / 2
