"""RCR: regression compatible ranking, a listwise loss whose minimum is the cross entropy's."""

from typing import Any

import keras
from keras import ops

from keras_infnet.losses.list_loss import ListLoss, ListRows

_NEVER = -1e9


@keras.saving.register_keras_serializable(package="keras_infnet")
class RCR(ListLoss):
    """`(1 - a) cross entropy + a mean_lists ListCE`, which agree at `sigmoid(s) = P(y = 1)`.

    `ListCE = -(1 / C) sum_i y_i log(sigmoid(s_i) / sum_{j in list} sigmoid(s_j))`, `C` the number
    of positives of the list. Softmax cross entropy, with `exp(s)` for `sigmoid(s)`, does not change
    with a number that is added to all logits, and so pulls away from calibration; this one does.

    The mean goes over the lists of the batch (our choice); one without a positive adds 0. A
    positive counts by its weight.

    Args:
        list_weight: `a`, from 0 to 1; the paper searches it.
        name: Name of the loss. Defaults to `None`: that of the class.

    Raises:
        ValueError: `list_weight` is not from 0 to 1.

    Example:
        >>> rcr = keras_infnet.losses.RCR(list_weight=1.0)
        >>> labels_and_lists = [[1.0, 0.0], [0.0, 0.0]]
        >>> round(float(rcr(labels_and_lists, [[0.6], [0.2]])), 4)  # -log(.6 / .8)
        0.2877

    Reference:
        Bai et al., Regression Compatible Listwise Objectives for Calibrated Ranking with Binary
        Relevance, CIKM 2023, arXiv:2211.01494.
    """

    def __init__(self, list_weight: float = 0.5, name: str | None = None) -> None:
        super().__init__(list_weight, name)

    def of_lists(self, rows: ListRows) -> Any:
        same = ops.cast(rows.same, "float32")
        log_p = -ops.softplus(-rows.logits)
        of_list = ops.where(rows.same, ops.transpose(log_p), _NEVER)
        of_list = ops.logsumexp(of_list, axis=1, keepdims=True)
        positives, size = same @ rows.labels, ops.sum(same, axis=1, keepdims=True)
        share = ops.divide_no_nan(rows.weights * rows.labels, positives)
        entropy = ops.where(rows.listed, share * (of_list - log_p), 0.0)
        # One over the size, summed over the rows of a list, is 1.
        lists = ops.sum(ops.divide_no_nan(ops.ones_like(size), size))
        return ops.divide_no_nan(ops.sum(entropy), lists)
