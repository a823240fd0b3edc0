"""Task metrics: the measures of all tasks in one call."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from keras_infnet.metrics.auc import auc
from keras_infnet.metrics.calibration import expected_calibration_error
from keras_infnet.metrics.group_auc import Weighting, group_auc
from keras_infnet.metrics.log_loss import log_loss
from keras_infnet.metrics.normalized_entropy import normalized_entropy
from keras_infnet.metrics.regression_error import mean_absolute_error, mean_squared_error


def task_metrics(
    labels: Any,
    predictions: Any,
    groups: Any = None,
    sample_weight: Any = None,
    *,
    regression: Collection[str] = (),
    weighting: Weighting = "impressions",
    calibration: bool = False,
) -> dict[str, dict[str, float]]:
    """Measures each predicted task: AUC, group AUC and log loss, or the errors of a regression.

    Args:
        labels: Dict or DataFrame, task name -> labels `(rows,)` or `(rows, 1)`; other columns are
            ignored.
        predictions: Dict or DataFrame, task name -> predictions, such as `model.predict` returns.
        groups: One key a row (see `group_auc`), giving `gauc`; or a dict name -> keys, giving
            `gauc_{name}` each. Keys of several columns are a list, as in
            `{"user": user, "user_day": [user, day]}`. Defaults to no group AUC.
        sample_weight: Weights of the rows, for all tasks, or as a dict or DataFrame task ->
            weights; 0 where the label was not observed. Defaults to 1.
        regression: Names of the tasks that are regressions.
        weighting: Weighting of group AUC.
        calibration: Whether to measure calibration, too: `"normalized_entropy"`, `"ece"` (10 bins
            of equal width) and `"ece_mass"` (10 bins of equal mass).

    Returns:
        Task -> `{"auc", "log_loss"}` and group AUCs, or `{"mse", "mae"}`; NaN where a number is
        not defined.

    Raises:
        ValueError: A task has no labels or is not among the predictions, or its columns are wrong.

    Example:
        >>> measured = keras_infnet.metrics.task_metrics(
        ...     {"click": [0, 1]}, {"click": [0.2, 0.8]}, groups=["ann", "ann"]
        ... )
        >>> measured["click"]["gauc"]
        1.0
    """
    predictions = dict(predictions.items())
    for task in predictions:
        _check_task(task, labels, "labels")
    by_task = sample_weight if _has_names(sample_weight) else None
    for task in [*regression, *(() if by_task is None else by_task)]:
        _check_task(task, predictions, "predictions")
    measured = {}
    for task, predicted in predictions.items():
        weights = sample_weight if by_task is None else by_task.get(task)
        try:
            if task in regression:
                measured[task] = _regression(labels[task], predicted, weights)
            else:
                measured[task] = _binary(labels[task], predicted, groups, weighting, weights)
                if calibration:
                    measured[task] |= calibration_measures(labels[task], predicted, weights)
        except ValueError as error:
            raise ValueError(f"Task `{task}`: {error}") from error
    return measured


def _binary(
    labels: Any, predicted: Any, groups: Any, weighting: Weighting, weights: Any
) -> dict[str, float]:
    named = {} if groups is None else {"gauc": groups}
    if isinstance(groups, Mapping):
        named = {f"gauc_{name}": keys for name, keys in groups.items()}
    return {
        "auc": auc(labels, predicted, weights),
        **{
            name: group_auc(labels, predicted, keys, weighting, weights)
            for name, keys in named.items()
        },
        "log_loss": log_loss(labels, predicted, weights),
    }


def calibration_measures(labels: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """Normalized entropy and expected calibration errors of one binary task."""
    return {
        "normalized_entropy": normalized_entropy(labels, predicted, weights),
        "ece": expected_calibration_error(labels, predicted, weights),
        "ece_mass": expected_calibration_error(labels, predicted, weights, binning="mass"),
    }


def _regression(labels: Any, predicted: Any, weights: Any) -> dict[str, float]:
    return {
        "mse": mean_squared_error(labels, predicted, weights),
        "mae": mean_absolute_error(labels, predicted, weights),
    }


def _has_names(columns: Any) -> bool:
    return isinstance(columns, Mapping) or hasattr(columns, "columns")


def _check_task(task: str, known: Collection[str], where: str) -> None:
    if task not in known:
        near = difflib.get_close_matches(str(task), [str(name) for name in known], n=1)
        hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(map(str, known))}."
        raise ValueError(f"Task `{task}` is not in the {where}. {hint}")
