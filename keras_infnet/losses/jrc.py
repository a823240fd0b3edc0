"""JRC: joint ranking and calibration, by how a row's logit stands in its list."""

from typing import Any

import keras
from keras import ops

from keras_infnet.losses.list_loss import ListLoss, ListRows

# Its exponential is 0 beside any logit's.
_NEVER = -1e9


@keras.saving.register_keras_serializable(package="keras_infnet")
class JRC(ListLoss):
    """`(1 - a) cross entropy + a mean_i -(z_y[i] - log sum_{j in list of i} exp z_y[j])`.

    `y` is the label of row `i`, in both terms: a positive's `z_1` should be high among those of its
    list, a negative's `z_0` likewise. The paper's head gives two logits, and serves
    `sigmoid(z_1 - z_0)`; a head of one logit `s` is `z_1 = s / 2`, `z_0 = -s / 2` (our choice), so
    that what is served stays `sigmoid(s)`, the probability that the cross entropy calibrates. A
    number that is added to all logits of a list changes the cross entropy alone.

    The mean goes over rows by their weight; a row in no list, or alone in its own, adds 0.

    Args:
        list_weight: `a`, from 0 to 1; the paper's alpha is `1 - a`, from .4 to .5.
        name: Name of the loss. Defaults to `None`: that of the class.

    Raises:
        ValueError: `list_weight` is not from 0 to 1.

    Example:
        >>> jrc = keras_infnet.losses.JRC(list_weight=1.0)
        >>> labels_and_lists = [[1.0, 0.0], [0.0, 0.0]]
        >>> round(float(jrc(labels_and_lists, [[0.5], [0.5]])), 4)  # log(2)
        0.6931

    Reference:
        Sheng et al., Joint Optimization of Ranking and Calibration with Contextualized Hybrid
        Model, KDD 2023, arXiv:2208.06164. All rows of the list are in the sum, as in the paper.
    """

    def __init__(self, list_weight: float = 0.5, name: str | None = None) -> None:
        super().__init__(list_weight, name)

    def of_lists(self, rows: ListRows) -> Any:
        sign = 2 * rows.labels - 1
        # z_y of the row's own label, of every row: (rows, rows).
        z = sign * ops.transpose(rows.logits) / 2
        of_list = ops.logsumexp(ops.where(rows.same, z, _NEVER), axis=1, keepdims=True)
        rank = ops.where(rows.listed, of_list - sign * rows.logits / 2, 0.0)
        return ops.sum(rows.weights * rank) / rows.number
