"""Bins of predicted probabilities: what reliability plots and calibration errors start from."""

from typing import Any, Literal

import numpy as np

from keras_infnet.metrics.observed_rows import observed_binary_rows

Binning = Literal["width", "mass"]
BINNINGS = ("width", "mass")


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
    check_bins(num_bins, binning)
    labels, p, weights, _ = observed_binary_rows(labels, probabilities, sample_weight)
    check_probabilities(p)
    if not len(p):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    bins = np.minimum(np.floor(p * num_bins), num_bins - 1).astype("int64")
    if binning == "mass":
        _, level = np.unique(p, return_inverse=True)
        bins = mass_bins(np.bincount(level, weights), num_bins)[level]
    sums = [np.bincount(bins, w, num_bins) for w in (weights * p, weights * labels, weights)]
    there = sums[2] > 0
    mean_p, mean_y, weight = (total[there] for total in sums)
    return mean_p / weight, mean_y / weight, weight


def mass_bins(weights: np.ndarray, num_bins: int) -> np.ndarray:
    """Bin of equal weight of each level, where levels come by ascending prediction."""
    middle = np.cumsum(weights) - weights / 2
    bins = np.floor(num_bins * middle / weights.sum()).astype("int64")
    return np.minimum(bins, num_bins - 1)


def check_bins(num_bins: int, binning: str) -> None:
    """A ValueError for an unknown `binning`, or no bin."""
    if binning not in BINNINGS:
        raise ValueError(f"`binning` must be one of {BINNINGS}. Received: {binning!r}")
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be 1 or more. Received: {num_bins=}")


def check_probabilities(p: np.ndarray) -> None:
    """A ValueError that shows the range of what is not in [0, 1]."""
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise ValueError(
            f"Calibration needs probabilities in [0, 1]. Received: values from {p.min():g} to "
            f"{p.max():g}. Apply a sigmoid to logits first."
        )
