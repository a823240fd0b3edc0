"""Reliability plot: observed rates over predicted probabilities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_infnet.metrics.reliability_bins import Binning, reliability_bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
