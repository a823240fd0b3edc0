"""CombinedPair: cross entropy, and a pairwise loss whose gradient rare positives keep alive."""

from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.losses.list_loss import ListLoss, ListRows


@keras.saving.register_keras_serializable(package="keras_infnet")
class CombinedPair(ListLoss):
    """`(1 - a) cross entropy + a mean_{i positive, j negative} log(1 + exp(-(s_i - s_j)))`.

    Where positives are rare, the cross entropy's gradient on a negative, `sigmoid(s_j)`, is nearly
    0; that of the pairs, `mean_i sigmoid(s_j - s_i)`, is not. Pairs are all of the batch, as in the
    paper, or those of one list. A pair weighs `sqrt(w_i w_j)` (our choice); without any, its part
    is 0.

    Args:
        list_weight: `a`, from 0 to 1.
        within: `"batch"` or `"list"`, where the pairs are; `"list"` needs batches of whole lists.
        name: Name of the loss. Defaults to `None`: that of the class.

    Raises:
        ValueError: `list_weight` is not from 0 to 1, or `within` is neither.

    Example:
        >>> pair = keras_infnet.losses.CombinedPair(list_weight=1.0)
        >>> labels_and_lists = [[1.0, 0.0], [0.0, 0.0]]
        >>> round(float(pair(labels_and_lists, [[0.5], [0.5]])), 4)  # log(2)
        0.6931

    Reference:
        Lin et al., Understanding the Ranking Loss for Recommendation with Sparse User Feedback,
        KDD 2024, arXiv:2403.14144; Li et al., Click-through Prediction for Advertising in Twitter
        Timeline, KDD 2015.
    """

    def __init__(
        self,
        list_weight: float = 0.7,
        within: Literal["batch", "list"] = "batch",
        name: str | None = None,
    ) -> None:
        super().__init__(list_weight, name)
        if within not in ("batch", "list"):
            raise ValueError(f'CombinedPair: within is {within!r}; expected "batch" or "list".')
        self.within = within

    @property
    def needs_lists(self) -> bool:
        return self.within == "list"

    def of_lists(self, rows: ListRows) -> Any:
        lost = ops.softplus(ops.transpose(rows.logits) - rows.logits)
        pairs = rows.labels * ops.transpose(1 - rows.labels) * ops.cast(rows.same, "float32")
        weights = ops.sqrt(rows.weights * ops.transpose(rows.weights))
        return ops.divide_no_nan(ops.sum(pairs * weights * lost), ops.sum(pairs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "within": self.within}
