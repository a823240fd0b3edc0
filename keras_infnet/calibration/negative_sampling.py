"""Correction of probabilities for negatives that were left out of training."""

from typing import Any

import numpy as np


def correct_negative_sampling(predictions: Any, negative_sampling_rate: float) -> np.ndarray:
    """Probabilities of all rows, from those of a model trained on a share of the negatives.

    `q = p / (p + (1 - p) / w)`: training on `w` of the negatives multiplies the odds by `1 / w`.

    Args:
        predictions: Probabilities `p`, of any shape.
        negative_sampling_rate: `w`, above 0 and at most 1.

    Returns:
        Float64 array `q` of the shape of `predictions`.

    Raises:
        ValueError: A prediction is NaN or outside [0, 1], or the rate is out of range.

    Example:
        >>> float(keras_infnet.calibration.correct_negative_sampling([0.5], 0.25).round(6)[0])
        0.2

    Reference:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014.
    """
    check_rate(negative_sampling_rate)
    return without_sampling(check_array("predictions", predictions), negative_sampling_rate)


def without_sampling(p: Any, rate: float | None) -> Any:
    """`p / (p + (1 - p) / rate)` of an array or a tensor; `None`: nothing was left out."""
    return p if rate is None else p / (p + (1 - p) / rate)


def check_array(name: str, values: Any) -> np.ndarray:
    """Probabilities as float64; a ValueError that names the task for NaN or another range."""
    p = np.asarray(values, "float64")
    if np.isnan(p).any():
        raise ValueError(f"Calibration: `{name}` has {int(np.isnan(p).sum())} predictions of NaN.")
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError(
            f"Calibration: `{name}` has predictions from {p.min():g} to {p.max():g}; expected "
            "probabilities in [0, 1]. Apply a sigmoid to logits first."
        )
    return p


def check_rate(rate: float | None) -> None:
    """A ValueError for a share that is not in (0, 1]."""
    if rate is not None and not 0 < rate <= 1:
        raise ValueError(
            f"negative_sampling_rate={rate!r}; expected the share of negatives that were kept, "
            "above 0 and at most 1."
        )
