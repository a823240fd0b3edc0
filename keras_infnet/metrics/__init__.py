"""Metrics of ranking: the maths in numpy and the Keras objects."""

from keras_infnet.metrics.auc import AUC, auc
from keras_infnet.metrics.block_jackknife import block_jackknife
from keras_infnet.metrics.calibration import (
    ExpectedCalibrationError,
    expected_calibration_error,
    plot_reliability,
)
from keras_infnet.metrics.group_auc import GroupAUC, group_auc
from keras_infnet.metrics.log_loss import log_loss
from keras_infnet.metrics.mrr import mean_reciprocal_rank
from keras_infnet.metrics.ndcg import ndcg
from keras_infnet.metrics.normalized_entropy import NormalizedEntropy, normalized_entropy
from keras_infnet.metrics.regression_error import mean_absolute_error, mean_squared_error
from keras_infnet.metrics.task_metrics import task_metrics

__all__ = [
    "AUC",
    "ExpectedCalibrationError",
    "GroupAUC",
    "NormalizedEntropy",
    "auc",
    "block_jackknife",
    "expected_calibration_error",
    "group_auc",
    "log_loss",
    "mean_absolute_error",
    "mean_reciprocal_rank",
    "mean_squared_error",
    "ndcg",
    "normalized_entropy",
    "plot_reliability",
    "task_metrics",
]
