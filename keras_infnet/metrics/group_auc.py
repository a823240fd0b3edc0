"""Group AUC: AUC inside each group (a user, or a user's day), averaged over the groups."""

from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.metrics.auc import auc_by_group
from keras_infnet.metrics.group_codes import grouped_rows
from keras_infnet.metrics.observed_rows import weighted_mean
from keras_infnet.metrics.streaming import flat_rows, logit_cells

Weighting = Literal["impressions", "positives", "uniform"]
WEIGHTINGS = ("impressions", "positives", "uniform")


def group_auc(
    labels: Any,
    scores: Any,
    groups: Any,
    weighting: Weighting = "impressions",
    sample_weight: Any = None,
) -> float:
    """Exact group AUC: `sum_g c_g AUC_g / sum_g c_g` over the groups that hold both classes.

    `AUC_g` counts ties as a half. With `weighting="impressions"`, as in FuxiCTR and the paper,
    `c_g` is the number of the group's rows; with `"positives"` that of its positives; with
    `"uniform"` it is 1. Weighted rows count by their weight.

    Args:
        labels: 0 or 1, `(rows,)` or `(rows, 1)`.
        scores: Any numbers that rank the rows, `(rows,)` or `(rows, 1)`.
        groups: One hashable key a row, or several key columns: a DataFrame, an array
            `(rows, columns)`, or a list or tuple of columns such as `[user, day]`. Rows with a
            missing key (`None`, NaN, `-1` or `""`) are nobody's: they are in no group.
        weighting: `"impressions"`, `"positives"` or `"uniform"`.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        Group AUC in [0, 1]; NaN where no group holds both classes.

    Raises:
        ValueError: An observed label is not 0 or 1, a score is NaN, lengths differ, two columns
            have the same index in another order, keys are floats that may stand for two integers,
            or `weighting` is unknown.

    Example:
        >>> user = ["ann", "ann", "bob", "bob", "bob", "eve"]
        >>> keras_infnet.metrics.group_auc([0, 1, 1, 0, 0, 1], [0.1, 0.2, 0.5, 0.5, 0.9, 0.3], user)
        0.55

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, evaluation; the other weightings are our choice.
    """
    _check_weighting(weighting)
    labels, scores, weights, codes = grouped_rows(labels, scores, groups, sample_weight)
    if not len(codes):
        return float("nan")
    values, positives, negatives = auc_by_group(labels, scores, weights, codes)
    counts = _counts(positives, negatives)[weighting]
    both = (positives > 0) & (negatives > 0)
    return weighted_mean(values[both], counts[both])


@keras.saving.register_keras_serializable(package="keras_infnet")
class GroupAUC(keras.metrics.Metric):
    """Streaming group AUC in bounded memory: hashed groups times bins of scores.

    State `counts (num_buckets * num_bins, 2)`: weight of positives and of negatives of each bucket
    and bin, `8 * num_buckets * num_bins` bytes (52 MB by default). Two scores in one bin count as a
    tie, and two groups in one bucket as one group, so the result approaches `group_auc` as both
    numbers grow. Bins have equal widths of the logit between -10 and 10. A cell counts to 2^24.

    One column of ids from 0 to `num_buckets - 1` never collides. `model.compile` hands a metric no
    groups: call `update_state` in a loop or a `test_step` of your own, or let `GroupAUCCallback`
    add the exact value at the end of each epoch.

    Args:
        weighting: `"impressions"`, `"positives"` or `"uniform"`; see `group_auc`.
        num_buckets: Buckets that the groups are hashed to.
        num_bins: Bins of scores.
        **kwargs: Arguments of `keras.metrics.Metric`, such as `name` and `dtype`.

    Call arguments:
        y_true: 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities, like `y_true`.
        groups: Integer keys `(batch,)`, or key columns `(batch, columns)`. Rows with a key of -1
            are nobody's: they are in no group.
        sample_weight: Weight of each row, like `y_true`. Defaults to 1.

    Returns:
        Scalar group AUC; NaN where no bucket holds both classes, or a prediction is NaN.

    Raises:
        ValueError: `weighting` is unknown, `num_buckets` is below 1 or `num_bins` below 2.

    Example:
        >>> metric = keras_infnet.metrics.GroupAUC(num_buckets=16)
        >>> metric.update_state([0, 1, 1, 0], [0.1, 0.2, 0.5, 0.9], groups=[3, 3, 7, 7])
        >>> float(metric.result())
        0.5
    """

    def __init__(
        self,
        weighting: Weighting = "impressions",
        num_buckets: int = 32768,
        num_bins: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "gauc", **kwargs})
        _check_weighting(weighting)
        if num_buckets < 1 or num_bins < 2:
            raise ValueError(
                "`num_buckets` must be 1 or more and `num_bins` 2 or more. "
                f"Received: {num_buckets=}, {num_bins=}"
            )
        self.weighting = weighting
        self.num_buckets = num_buckets
        self.num_bins = num_bins
        self._direction = "up"
        shape = (num_buckets * num_bins, 2)
        self.counts = self.add_variable(shape, initializer="zeros", name="counts")

    def update_state(
        self, y_true: Any, y_pred: Any, groups: Any, sample_weight: Any = None
    ) -> None:
        labels, scores, weights = flat_rows(self.dtype, y_true, y_pred, sample_weight)
        keys = ops.convert_to_tensor(groups)
        columns = [keys] if len(keys.shape) == 1 else ops.unstack(keys, axis=1)
        for column in columns:
            weights = ops.where(ops.equal(column, -1), 0.0, weights)
        cells = self._buckets(columns) * self.num_bins + logit_cells(scores, self.num_bins)
        added = ops.stack([weights * labels, weights * (1 - labels)], axis=-1)
        counts = ops.scatter_update(self.counts, cells[:, None], added, reduction="add")
        self.counts.assign(counts)

    def result(self) -> Any:
        counts = ops.reshape(self.counts, (self.num_buckets, self.num_bins, 2))
        positive, negative = counts[..., 0], counts[..., 1]
        below = ops.cumsum(negative, axis=1) - negative
        pairs_won = ops.sum(positive * (below + negative / 2), axis=1)
        positives, negatives = ops.sum(positive, axis=1), ops.sum(negative, axis=1)
        both = ops.logical_and(positives > 0, negatives > 0)
        values = pairs_won / ops.where(both, positives * negatives, 1.0)
        weights = _counts(positives, negatives)[self.weighting]
        weights = ops.where(both, weights, 0.0)
        # 0 / 0 is NaN: no bucket holds both classes. A bucket that is NaN holds neither.
        is_number = ops.isfinite(ops.sum(positives + negatives))
        return ops.where(is_number, ops.sum(weights * values) / ops.sum(weights), float("nan"))

    def get_config(self) -> dict[str, Any]:
        config = {"weighting": self.weighting, "num_buckets": self.num_buckets}
        return {**super().get_config(), **config, "num_bins": self.num_bins}

    def _buckets(self, columns: Any) -> Any:
        code, *others = (ops.cast(column, "int32") for column in columns)
        for further in others:
            code = code * 1000003 + further
        return ops.mod(code, self.num_buckets)


def _counts(positives: Any, negatives: Any) -> dict[str, Any]:
    """What a group counts, by weighting."""
    either = positives + negatives
    return {"impressions": either, "positives": positives, "uniform": positives * 0 + 1}


def _check_weighting(weighting: str) -> None:
    if weighting not in WEIGHTINGS:
        raise ValueError(f"`weighting` must be one of {WEIGHTINGS}. Received: {weighting!r}")
