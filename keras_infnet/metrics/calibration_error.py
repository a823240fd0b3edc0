"""Expected calibration error: how far predicted probabilities are from observed rates."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.metrics.reliability_bins import Binning, check_bins, reliability_bins

# Cells of equal mass are merged from cells of the logit: probabilities 4.5e-5 to 1 - 4.5e-5.
_LOGIT_RANGE = 10.0


def expected_calibration_error(
    labels: Any,
    probabilities: Any,
    sample_weight: Any = None,
    num_bins: int = 10,
    binning: Binning = "width",
) -> float:
    """ECE: `sum_b w_b |mean_b(p) - mean_b(y)| / sum_b w_b` over bins of predictions.

    `w_b` is the weight of bin `b`. Bins of equal width cut [0, 1] evenly, as in Guo et al.; where
    positives are rare, nearly all rows are then in the first bin, and bins of equal mass, which
    hold equal weights, tell more. Rows of one prediction stay in one bin.

    Args:
        labels: `y`, 0 or 1, `(rows,)` or `(rows, 1)`.
        probabilities: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.
        num_bins: Number of bins.
        binning: `"width"` or `"mass"`.

    Returns:
        ECE in [0, 1], in units of probability; NaN without an observed row.

    Raises:
        ValueError: An observed label is not 0 or 1, a probability is outside [0, 1], the lengths
            differ, `num_bins` is below 1, or `binning` is unknown.

    Example:
        >>> round(keras_infnet.metrics.expected_calibration_error([0, 0, 1, 1], [0.1, 0.1, 0.7, 0.7]), 2)
        0.2

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599. How rows are put
        into bins of equal mass is our choice.
    """
    p, y, weight = reliability_bins(
        labels, probabilities, sample_weight, num_bins=num_bins, binning=binning
    )
    return float(np.average(np.abs(p - y), weights=weight)) if len(p) else float("nan")


@keras.saving.register_keras_serializable(package="keras_infnet")
class ExpectedCalibrationError(keras.metrics.Metric):
    """Streaming `expected_calibration_error` in bounded memory.

    State `sums (cells, 3)`: weight, weighted predictions and weighted labels of each cell. With
    `binning="width"` the cells are the bins, and the result is exact. With `"mass"` there are
    `num_cells` cells of equal width of the logit between -10 and 10, merged into bins of equal
    mass at the end; the result approaches the exact one as cells grow. A cell counts to 2^24.

    Args:
        num_bins: Number of bins.
        binning: `"width"` or `"mass"`.
        num_cells: Cells that bins of equal mass are merged from.
        **kwargs: Arguments of `keras.metrics.Metric`, such as `name` and `dtype`.

    Call arguments:
        y_true: 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities, like `y_true`.
        sample_weight: Weight of each row, like `y_true`. Defaults to 1.

    Returns:
        Scalar ECE; NaN without a row of weight above 0.

    Raises:
        ValueError: `num_bins` is below 1, `num_cells` below `num_bins`, or `binning` is unknown.

    Example:
        >>> metric = keras_infnet.metrics.ExpectedCalibrationError()
        >>> metric.update_state([0, 0, 1, 1], [0.1, 0.1, 0.7, 0.7])
        >>> round(float(metric.result()), 2)
        0.2
    """

    def __init__(
        self, num_bins: int = 10, binning: Binning = "width", num_cells: int = 2000, **kwargs: Any
    ) -> None:
        super().__init__(**{"name": "ece", **kwargs})
        check_bins(num_bins, binning)
        if num_cells < num_bins:
            raise ValueError(
                f"`num_cells` must be `num_bins` or more. Received: {num_cells=}, {num_bins=}"
            )
        self.num_bins = num_bins
        self.binning = binning
        self.num_cells = num_cells
        self._direction = "down"
        shape = (num_bins if binning == "width" else num_cells, 3)
        self.sums = self.add_variable(shape, initializer="zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels = ops.reshape(ops.cast(y_true, self.dtype), (-1,))
        p = ops.reshape(ops.cast(y_pred, self.dtype), (-1,))
        weights = ops.ones_like(labels)
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        # An unobserved label may be NaN.
        labels = ops.where(weights > 0, labels, 0.0)
        added = ops.stack([weights, weights * p, weights * labels], axis=-1)
        cells = self._cells(p)[:, None]
        self.sums.assign(ops.scatter_update(self.sums, cells, added, reduction="add"))

    def result(self) -> Any:
        sums = ops.convert_to_tensor(self.sums)
        weights = sums[:, 0]
        total = ops.sum(weights)
        if self.binning == "mass":
            middle = ops.cumsum(weights) - weights / 2
            share = middle / ops.where(total > 0, total, 1.0)
            bins = ops.cast(ops.floor(self.num_bins * share), "int32")
            bins = ops.clip(bins, 0, self.num_bins - 1)
            sums = ops.segment_sum(sums, bins, num_segments=self.num_bins)
        # 0 / 0 is NaN: no row was observed.
        return ops.sum(ops.abs(sums[:, 1] - sums[:, 2])) / total

    def get_config(self) -> dict[str, Any]:
        config = {"num_bins": self.num_bins, "binning": self.binning, "num_cells": self.num_cells}
        return {**super().get_config(), **config}

    def _cells(self, p: Any) -> Any:
        share, count = p, self.num_bins
        if self.binning == "mass":
            p = ops.clip(p, 1e-7, 1 - 1e-7)
            logits = ops.log(p) - ops.log1p(-p)
            share, count = (logits + _LOGIT_RANGE) / (2 * _LOGIT_RANGE), self.num_cells
        return ops.clip(ops.cast(ops.floor(share * count), "int32"), 0, count - 1)
