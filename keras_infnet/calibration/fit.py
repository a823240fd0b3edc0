"""Calibration learned from validation rows: Platt scaling, temperature, isotonic regression."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.calibration.calibration import (
    Calibration,
    Method,
    TaskCalibration,
    check_method,
    logits_of,
    sigmoid,
)
from keras_infnet.calibration.negative_sampling import check_array, check_rate, without_sampling
from keras_infnet.metrics.observed_rows import check_order, column, observed_binary_rows
from keras_infnet.metrics.task_columns import of_task

_MAX_STEPS = 100


def fit_calibration(
    labels: Any,
    predictions: Any,
    method: Method | Mapping[str, Method] = "platt",
    sample_weight: Any = None,
    negative_sampling_rate: float | Mapping[str, float] | None = None,
) -> Calibration:
    """Learns how to turn each task's predictions into rates, from validation rows.

    - `"platt"`: `sigmoid(a logit(p) + b)` of least weighted log loss, without a penalty;
    - `"temperature"`: the same with `b = 0`; it leaves a wrong base rate wrong;
    - `"isotonic"`: the rising step function of least weighted squared error, by pooling adjacent
      violators, linear between the ends of its steps. It needs many rows, and may map to 0 or 1;
    - `"none"`: the correction for `negative_sampling_rate` alone.

    Validation rows are to be as they come in serving. If their negatives were sampled as those of
    training, weigh each kept negative by `1 / negative_sampling_rate`.

    Args:
        labels: Dict or DataFrame, task name -> labels `(rows,)` or `(rows, 1)`; other columns are
            ignored. A label of NaN was not observed: its row is left out for that task.
        predictions: Dict or DataFrame, task name -> probabilities, like `labels`. Each of its
            tasks is calibrated.
        method: One method for all tasks, or task name -> method.
        sample_weight: Weights of the rows, for all tasks, or as a dict or DataFrame task ->
            weights; 0 where the label was not observed. Defaults to 1.
        negative_sampling_rate: Share of the negatives that training rows kept, for all tasks or
            as task name -> share; predictions are corrected for it before the fit. Defaults to
            `None`: all were kept.

    Returns:
        A `Calibration` of the tasks of `predictions`.

    Raises:
        ValueError: A task has no labels, or its observed labels are of one class; a prediction is
            NaN or outside [0, 1]; two columns have the same index in another order; predictions
            tell the classes fully apart, or order them the wrong way round; a method or rate is not
            one of those above.

    Example:
        >>> labels, predicted = {"click": [0, 0, 1, 0, 1, 0]}, {"click": [.2, .3, .4, .6, .7, .8]}
        >>> calibration = keras_infnet.calibration.fit_calibration(labels, predicted)
        >>> float(calibration.transform(predicted)["click"].mean().round(4))
        0.3333

    Reference:
        Platt, 1999; Guo et al., arXiv:1706.04599; He et al., ADKDD 2014. Fitting on logits without
        smoothed labels is our choice.
    """
    predictions = dict(predictions.items())
    for given in (method, negative_sampling_rate):
        _check_tasks(given, predictions, "predictions")
    _check_tasks(predictions, labels, "labels")
    fitted = {}
    for name, predicted in predictions.items():
        chosen, rate = of_task(name, method), of_task(name, negative_sampling_rate)
        try:
            rows = labels[name], predicted, of_task(name, sample_weight)
            fitted[name] = _fit_task(chosen, *rows, rate)
        except ValueError as error:
            raise ValueError(f"Task `{name}`: {error}") from error
    return Calibration(fitted)


def _fit_task(
    method: Any, labels: Any, predicted: Any, weights: Any, rate: float | None
) -> TaskCalibration:
    check_method(method)
    check_rate(rate)
    # Of the columns as they were given: arrays have no index.
    check_order(labels=labels, predictions=predicted, weights=weights)
    labels = column("labels", labels)
    weights = np.ones(len(labels)) if weights is None else column("weights", weights)
    if len(weights) == len(labels):
        weights = np.where(np.isnan(labels), 0, weights)
    y, p, w, _ = observed_binary_rows(labels, predicted, weights)
    p = without_sampling(check_array("predictions", p), rate)
    if method == "none":
        return TaskCalibration("none", negative_sampling_rate=rate)
    if not len(y) or y.min() == y.max():
        found = f"all {len(y)} observed labels are {y[0]:g}" if len(y) else "no label is observed"
        raise ValueError(f"{found}; expected rows of both classes to calibrate on.")
    if method == "isotonic":
        return TaskCalibration(method, 1.0, 0.0, *_isotonic(y, p, w), negative_sampling_rate=rate)
    line = _sigmoid(y, logits_of(p), w, method == "platt")
    return TaskCalibration(method, *line, negative_sampling_rate=rate)


def _sigmoid(y: np.ndarray, x: np.ndarray, w: np.ndarray, shifted: bool) -> tuple[float, float]:
    """Slope and intercept of least log loss, by Newton's method with halved steps."""
    w = w / w.sum()
    rate = w @ y if shifted else 0.5
    center = w @ x if shifted else 0.0
    if w @ ((y - rate) * (x - center)) <= 0 or (shifted and x.min() == x.max()):
        raise ValueError(
            "predictions order the classes the wrong way round, or not at all; a calibrated "
            "model would lose its order. Check labels and predictions."
        )
    lowest, highest = x[y == 1].min(), x[y == 0].max()
    if lowest >= highest if shifted else lowest >= 0 >= highest:
        raise ValueError(
            "predictions tell the classes fully apart, so that no slope is best. Calibrate on more "
            'rows, or with method="isotonic".'
        )
    columns = np.stack([x, np.ones_like(x)]) if shifted else x[None]
    found = np.zeros(len(columns))
    loss = _log_loss(found @ columns, y, w)
    for _ in range(_MAX_STEPS):
        q = sigmoid(found @ columns)
        gradient = columns @ (w * (q - y))
        step = np.linalg.solve((columns * (w * q * (1 - q))) @ columns.T, gradient)
        while (new := _log_loss((found - step) @ columns, y, w)) > loss + 1e-15:
            step /= 2
        found, loss = found - step, new
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), float(found[1]) if shifted else 0.0


def _log_loss(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(w @ (np.logaddexp(0, z) - y * z))


def _isotonic(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[tuple, tuple]:
    """Ends of the steps of the rising function of least weighted squared error."""
    inputs, level = np.unique(p.astype("float32").astype("float64"), return_inverse=True)
    weight = np.bincount(level, w)
    mean, first = np.bincount(level, w * y) / weight, np.arange(len(inputs))
    # Runs that do not rise are pooled at once, all of them, until every step rises.
    while (falls := mean[1:] <= mean[:-1]).any():
        starts = np.flatnonzero(np.append(True, ~falls))
        total = np.add.reduceat(mean * weight, starts)
        weight, first = np.add.reduceat(weight, starts), first[starts]
        mean = total / weight
    last = np.append(first[1:], len(inputs)) - 1
    ends = np.unique(np.concatenate([first, last]))
    return tuple(inputs[ends]), tuple(mean[np.searchsorted(first, ends, side="right") - 1])


def _check_tasks(given: Any, known: Any, where: str) -> None:
    for name in given if isinstance(given, Mapping) else ():
        check_known(name, known, f"fit_calibration: task `{name}` is not in the {where}.")
