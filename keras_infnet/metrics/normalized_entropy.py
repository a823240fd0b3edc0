"""Normalised entropy: log loss as a share of the loss of always predicting the base rate."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.metrics.log_loss import EPSILON, log_loss
from keras_infnet.metrics.observed_rows import observed_binary_rows
from keras_infnet.metrics.streaming import flat_rows


def normalized_entropy(labels: Any, probabilities: Any, sample_weight: Any = None) -> float:
    """Log loss of the predictions over the entropy of the base rate.

    `log_loss(y, p) / -(r log r + (1 - r) log(1 - r))` with `r` the weighted mean label: 1 for a
    model that knows no more than the base rate, lower is better. Unlike log loss it compares tasks
    of different base rates.

    Args:
        labels: `y`, 0 or 1, `(rows,)` or `(rows, 1)`.
        probabilities: `p`, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        A number of 0 or more; NaN where the observed rows hold one class only, or there are none.

    Raises:
        ValueError: An observed label is not 0 or 1, a probability is outside [0, 1], or the
            lengths differ.

    Example:
        >>> keras_infnet.metrics.normalized_entropy([0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25])
        1.0

    Reference:
        He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014.
    """
    loss = log_loss(labels, probabilities, sample_weight)
    labels, _, weights, _ = observed_binary_rows(labels, probabilities, sample_weight)
    if not len(labels) or labels.min() == labels.max():
        return float("nan")
    rate = np.average(labels, weights=weights)
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


@keras.saving.register_keras_serializable(package="keras_infnet")
class NormalizedEntropy(keras.metrics.Metric):
    """Streaming `normalized_entropy`.

    State `sums (3,)`: weighted log losses, weighted positives, and weight.

    Args:
        **kwargs: Arguments of `keras.metrics.Metric`, such as `name` and `dtype`.

    Call arguments:
        y_true: 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities, like `y_true`; clipped to [1e-7, 1 - 1e-7].
        sample_weight: Weight of each row, like `y_true`. Defaults to 1.

    Returns:
        Scalar of 0 or more; NaN where one class only was observed.

    Example:
        >>> metric = keras_infnet.metrics.NormalizedEntropy()
        >>> metric.update_state([0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25])
        >>> round(float(metric.result()), 5)
        1.0
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "normalized_entropy", **kwargs})
        self._direction = "down"
        self.sums = self.add_variable((3,), initializer="zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, p, weights = flat_rows(self.dtype, y_true, y_pred, sample_weight)
        p = ops.clip(p, EPSILON, 1 - EPSILON)
        losses = -(labels * ops.log(p) + (1 - labels) * ops.log1p(-p))
        sums = [ops.sum(weights * losses), ops.sum(weights * labels), ops.sum(weights)]
        self.sums.assign(self.sums + ops.stack(sums))

    def result(self) -> Any:
        loss, positives, weight = ops.unstack(ops.convert_to_tensor(self.sums), axis=0)
        rate = positives / weight
        # With one class alone the entropy is 0 * log(0): NaN.
        entropy = -(rate * ops.log(rate) + (1 - rate) * ops.log1p(-rate))
        return loss / weight / entropy
