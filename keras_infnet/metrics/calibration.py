"""Calibration measures: reliability bins and plot, expected calibration error."""

from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import ops

from keras_infnet._base.figures import new_figure
from keras_infnet.metrics.observed_rows import observed_probabilities, weighted_mean
from keras_infnet.metrics.streaming import cells_of, flat_rows, logit_cells
from keras_infnet.metrics.task_columns import check_task, of_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Binning = Literal["width", "mass"]
BINNINGS = ("width", "mass")


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
        >>> labels, probabilities = [0, 0, 1, 1], [0.1, 0.1, 0.7, 0.7]
        >>> error = keras_infnet.metrics.expected_calibration_error(labels, probabilities)
        >>> round(error, 2)
        0.2

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599. How rows are put
        into bins of equal mass is our choice.
    """
    p, y, weight = reliability_bins(
        labels, probabilities, sample_weight, num_bins=num_bins, binning=binning
    )
    return weighted_mean(np.abs(p - y), weight)


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
        _check_bins(num_bins, binning)
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
        labels, p, weights = flat_rows(self.dtype, y_true, y_pred, sample_weight)
        added = ops.stack([weights, weights * p, weights * labels], axis=-1)
        # Bins of equal mass are merged from cells of the logit.
        mass = self.binning == "mass"
        cells = logit_cells(p, self.num_cells) if mass else cells_of(p, self.num_bins)
        self.sums.assign(ops.scatter_update(self.sums, cells[:, None], added, reduction="add"))

    def result(self) -> Any:
        sums = ops.convert_to_tensor(self.sums)
        weights = sums[:, 0]
        total = ops.sum(weights)
        if self.binning == "mass":
            middle = ops.cumsum(weights) - weights / 2
            share = middle / ops.where(total > 0, total, 1.0)
            bins = cells_of(share, self.num_bins)
            sums = ops.segment_sum(sums, bins, num_segments=self.num_bins)
        # 0 / 0 is NaN: no row was observed.
        return ops.sum(ops.abs(sums[:, 1] - sums[:, 2])) / total

    def get_config(self) -> dict[str, Any]:
        config = {"num_bins": self.num_bins, "binning": self.binning, "num_cells": self.num_cells}
        return {**super().get_config(), **config}


def plot_reliability(
    labels: Any,
    predictions: Any,
    calibrated: Any = None,
    sample_weight: Any = None,
    *,
    num_bins: int = 10,
    binning: Binning = "mass",
) -> "Figure":
    """Draws a panel a task: mean label over mean prediction of each bin, on logarithmic axes.

    On the diagonal, predictions are rates. Bars are two standard errors of the mean label,
    `sqrt(r (1 - r) / n)` of a bin with rate `r` and weight `n`. A bin without a positive lies
    below the axis.

    Args:
        labels: Dict or DataFrame, task name -> labels `(rows,)` or `(rows, 1)`; other columns are
            ignored.
        predictions: Dict or DataFrame, task name -> probabilities, such as `model.predict` returns.
        calibrated: The same after calibration, drawn beside them. Defaults to none.
        sample_weight: Weights of the rows, for all tasks, or as a dict or DataFrame task ->
            weights; 0 where the label was not observed. Defaults to 1.
        num_bins: Number of bins.
        binning: `"width"` or `"mass"`; see `expected_calibration_error`.

    Returns:
        A `matplotlib.figure.Figure`; `figure.savefig("reliability.png")` writes it.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: A task has no labels, or its columns are wrong.

    Example:
        >>> figure = keras_infnet.metrics.plot_reliability(
        ...     {"click": [0, 1, 0, 1]}, {"click": [0.2, 0.6, 0.3, 0.7]}, num_bins=2
        ... )
        >>> [axes.get_title() for axes in figure.axes]
        ['click']
    """
    curves = {"predicted": dict(predictions.items())}
    if calibrated is not None:
        curves["calibrated"] = dict(calibrated.items())
    tasks = list(curves["predicted"])
    figure, panels = new_figure(4 * len(tasks), 4, columns=len(tasks))
    for axes, task in zip(panels[0], tasks, strict=True):
        weights = of_task(task, sample_weight)
        for name, predicted in curves.items():
            check_task(task, labels, "labels")
            check_task(task, predicted, "calibrated predictions")
            columns = (labels[task], predicted[task], weights)
            _draw(axes, name, *reliability_bins(*columns, num_bins=num_bins, binning=binning))
        _finish(axes, task)
    return figure


def reliability_bins(
    labels: Any,
    probabilities: Any,
    sample_weight: Any = None,
    *,
    num_bins: int = 10,
    binning: Binning = "width",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean prediction, mean label and weight of each bin that holds a row.

    Bin `b` of `"width"` holds `b / num_bins <= p < (b + 1) / num_bins`; `p = 1` is in the last.
    Bins of `"mass"` hold equal weights: a row goes where the middle of its weight falls, and rows
    of one prediction stay together, so that the order of rows changes nothing.

    Args:
        labels: 0 or 1, `(rows,)` or `(rows, 1)`.
        probabilities: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.
        num_bins: Number of bins.
        binning: `"width"` or `"mass"`.

    Returns:
        Three float64 arrays `(bins,)`, by ascending prediction.

    Raises:
        ValueError: An observed label is not 0 or 1, a probability is outside [0, 1], the lengths
            differ, `num_bins` is below 1, or `binning` is unknown.
    """
    _check_bins(num_bins, binning)
    labels, p, weights = observed_probabilities(labels, probabilities, sample_weight, "Calibration")
    share = p
    if binning == "mass":
        _, level = np.unique(p, return_inverse=True)
        of_level = np.bincount(level, weights)
        share = ((np.cumsum(of_level) - of_level / 2) / max(of_level.sum(), 1e-300))[level]
    bins = np.minimum(np.floor(share * num_bins), num_bins - 1).astype("int64")
    sums = [np.bincount(bins, w, num_bins) for w in (weights * p, weights * labels, weights)]
    there = sums[2] > 0
    mean_p, mean_y, weight = (total[there] for total in sums)
    return mean_p / weight, mean_y / weight, weight


def _check_bins(num_bins: int, binning: str) -> None:
    """A ValueError for an unknown `binning`, or no bin."""
    if binning not in BINNINGS:
        raise ValueError(f"`binning` must be one of {BINNINGS}. Received: {binning!r}")
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be 1 or more. Received: {num_bins=}")


def _draw(axes: Any, name: str, p: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
    error = 2 * np.sqrt(y * (1 - y) / np.maximum(weight, 1))
    # A bar that reaches 0 has no place on a logarithmic axis.
    below = np.minimum(error, y * (1 - 1e-3))
    axes.errorbar(p, y, yerr=[below, error], marker="o", markersize=4, capsize=2, label=name)


def _finish(axes: Any, task: str) -> None:
    points = np.concatenate([curve.lines[0].get_xydata().ravel() for curve in axes.containers])
    known = points[points > 0]
    limits = (known.min() / 2, min(1.0, 2 * known.max())) if len(known) else (1e-5, 1.0)
    axes.plot(limits, limits, color="grey", linewidth=1, linestyle="--", zorder=0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, title=task)
    axes.set(xlabel="mean prediction", ylabel="mean label")
    axes.legend()
