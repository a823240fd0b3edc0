"""Task metrics: the measures of all tasks in one call."""

from collections.abc import Collection, Mapping
from typing import Any

from keras_infnet.metrics.auc import auc
from keras_infnet.metrics.calibration import expected_calibration_error
from keras_infnet.metrics.group_auc import Weighting, group_auc
from keras_infnet.metrics.log_loss import log_loss
from keras_infnet.metrics.mrr import mean_reciprocal_rank
from keras_infnet.metrics.ndcg import ndcg
from keras_infnet.metrics.normalized_entropy import normalized_entropy
from keras_infnet.metrics.regression_error import regression_measures
from keras_infnet.metrics.task_columns import check_task, has_names, of_task


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
        check_task(task, labels, "labels")
    for task in [*regression, *(sample_weight if has_names(sample_weight) else ())]:
        check_task(task, predictions, "predictions")
    named = {} if groups is None else {"gauc": groups}
    if isinstance(groups, Mapping):
        named = {f"gauc_{name}": keys for name, keys in groups.items()}
    measured = {}
    for task, predicted in predictions.items():
        columns = (labels[task], predicted, of_task(task, sample_weight))
        try:
            if task in regression:
                measured[task] = regression_measures(*columns)
                continue
            measured[task] = binary_measures(*columns, named, weighting)
            if calibration:
                measured[task] |= calibration_measures(*columns)
        except ValueError as error:
            raise ValueError(f"Task `{task}`: {error}") from error
    return measured


def binary_measures(
    labels: Any, predicted: Any, weights: Any, groups: Mapping[str, Any], weighting: Weighting
) -> dict[str, float]:
    """AUC, group AUCs by their names, and log loss of one binary task."""
    found = {"auc": auc(labels, predicted, weights)}
    for name, keys in groups.items():
        found[name] = group_auc(labels, predicted, keys, weighting, weights)
    return {**found, "log_loss": log_loss(labels, predicted, weights)}


def calibration_measures(labels: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """Normalized entropy and expected calibration errors of one binary task."""
    return {
        "normalized_entropy": normalized_entropy(labels, predicted, weights),
        "ece": expected_calibration_error(labels, predicted, weights),
        "ece_mass": expected_calibration_error(labels, predicted, weights, binning="mass"),
    }


def list_measures(
    labels: Any, predicted: Any, weights: Any, lists: Any, weighting: Weighting, k: int
) -> dict[str, float]:
    """Group AUC, NDCG and MRR of one binary task within lists."""
    return {
        "gauc_list": group_auc(labels, predicted, lists, weighting, weights),
        f"ndcg@{k}": ndcg(labels, predicted, lists, k, weights),
        "mrr": mean_reciprocal_rank(labels, predicted, lists, weights),
    }
