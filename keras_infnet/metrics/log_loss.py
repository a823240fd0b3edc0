"""Log loss: the mean cross entropy of labels and probabilities."""

from typing import Any

import numpy as np

from keras_infnet.metrics.observed_rows import observed_probabilities, weighted_mean

# A float32 probability may round to exactly 0 or 1; Keras's cross entropy clips at this value too.
EPSILON = 1e-7


def log_loss(labels: Any, probabilities: Any, sample_weight: Any = None) -> float:
    """Weighted mean of `-(y log p + (1 - y) log(1 - p))`, `p` clipped to [1e-7, 1 - 1e-7].

    Args:
        labels: `y`, 0 or 1, `(rows,)` or `(rows, 1)`.
        probabilities: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        Log loss in nats, also where one class only was observed; NaN without an observed row.

    Raises:
        ValueError: An observed label is not 0 or 1, a probability is outside [0, 1], or the
            lengths differ.

    Example:
        >>> round(keras_infnet.metrics.log_loss([1, 0], [0.5, 0.5]), 4)
        0.6931
    """
    labels, p, weights = observed_probabilities(labels, probabilities, sample_weight, "Log loss")
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return weighted_mean(-np.log(np.where(labels == 1, p, 1 - p)), weights)
