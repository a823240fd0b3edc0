"""Calibration measures: reliability bins and plot, expected calibration error."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import ops

from keras_infnet.metrics.observed_rows import observed_binary_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Binning = Literal["width", "mass"]
BINNINGS = ("width", "mass")
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
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError(
            'plot_reliability needs matplotlib: `pip install "keras-infnet[plots]"`.'
        ) from error

    curves = {"predicted": dict(predictions.items())}
    if calibrated is not None:
        curves["calibrated"] = dict(calibrated.items())
    tasks = list(curves["predicted"])
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(4 * len(tasks), 4), layout="constrained", squeeze=False
    )
    # A notebook shows what a cell returns, and would show an open figure twice.
    plt.close(figure)
    for axes, task in zip(panels[0], tasks, strict=True):
        for name, predicted in curves.items():
            _check_task(task, labels, predicted)
            weights = sample_weight
            if isinstance(sample_weight, Mapping) or hasattr(sample_weight, "columns"):
                weights = sample_weight.get(task)
            bins = reliability_bins(
                labels[task], predicted[task], weights, num_bins=num_bins, binning=binning
            )
            _draw(axes, name, *bins)
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
    labels, p, weights, _ = observed_binary_rows(labels, probabilities, sample_weight)
    _check_probabilities(p)
    if not len(p):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    bins = np.minimum(np.floor(p * num_bins), num_bins - 1).astype("int64")
    if binning == "mass":
        _, level = np.unique(p, return_inverse=True)
        bins = _mass_bins(np.bincount(level, weights), num_bins)[level]
    sums = [np.bincount(bins, w, num_bins) for w in (weights * p, weights * labels, weights)]
    there = sums[2] > 0
    mean_p, mean_y, weight = (total[there] for total in sums)
    return mean_p / weight, mean_y / weight, weight


def _mass_bins(weights: np.ndarray, num_bins: int) -> np.ndarray:
    """Bin of equal weight of each level, where levels come by ascending prediction."""
    middle = np.cumsum(weights) - weights / 2
    bins = np.floor(num_bins * middle / weights.sum()).astype("int64")
    return np.minimum(bins, num_bins - 1)


def _check_bins(num_bins: int, binning: str) -> None:
    """A ValueError for an unknown `binning`, or no bin."""
    if binning not in BINNINGS:
        raise ValueError(f"`binning` must be one of {BINNINGS}. Received: {binning!r}")
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be 1 or more. Received: {num_bins=}")


def _check_probabilities(p: np.ndarray) -> None:
    """A ValueError that shows the range of what is not in [0, 1]."""
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise ValueError(
            f"Calibration needs probabilities in [0, 1]. Received: values from {p.min():g} to "
            f"{p.max():g}. Apply a sigmoid to logits first."
        )


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


def _check_task(task: str, labels: Any, predicted: Mapping[str, Any]) -> None:
    for where, known in (("labels", labels), ("calibrated predictions", predicted)):
        if task not in known:
            raise ValueError(
                f"Task `{task}` is not in the {where}. Known: {', '.join(map(str, known))}."
            )
