"""Mean squared and mean absolute error of a regression task."""

from typing import Any

import numpy as np

from keras_infnet.metrics.observed_rows import observed_rows, weighted_mean


def mean_squared_error(labels: Any, predictions: Any, sample_weight: Any = None) -> float:
    """Weighted mean of `(y - p)^2` over observed rows; NaN without any.

    Args:
        labels: `y`, `(rows,)` or `(rows, 1)`.
        predictions: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        The error, in squared units of the label.

    Raises:
        ValueError: An observed label or prediction is NaN, or the lengths differ.
    """
    labels, predictions, weights, _ = observed_rows(labels, predictions, sample_weight)
    return weighted_mean((labels - predictions) ** 2, weights)


def mean_absolute_error(labels: Any, predictions: Any, sample_weight: Any = None) -> float:
    """Weighted mean of `|y - p|` over observed rows; NaN without any.

    Args:
        labels: `y`, `(rows,)` or `(rows, 1)`.
        predictions: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        The error, in units of the label.

    Raises:
        ValueError: An observed label or prediction is NaN, or the lengths differ.
    """
    labels, predictions, weights, _ = observed_rows(labels, predictions, sample_weight)
    return weighted_mean(np.abs(labels - predictions), weights)


def regression_measures(labels: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """Both errors of one task."""
    return {
        "mse": mean_squared_error(labels, predicted, weights),
        "mae": mean_absolute_error(labels, predicted, weights),
    }
