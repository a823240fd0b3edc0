"""Area under the ROC curve, exact: the probability that a positive is scored above a negative."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.metric_cells import add_rows, can_be_read, float_bits
from keras_infnet._base.within_step import step_now
from keras_infnet.metrics.observed_rows import observed_binary_rows
from keras_infnet.metrics.streaming import flat_rows

# Each doubling has 2^14 cells: of `p` from 2^-40, of `1 - p` from 2^-24, float32's last below 1.
_CELLS, _SHOWN = 2**20, 2**11
_DROPPED_BITS = 23 - 14
# Name of the variable that training steps of our models leave alone.
EVALUATION_CELLS = "evaluation_cells"
_LOWEST = int(np.float32(2.0**-40).view("int32"))
_LOWEST_BELOW_ONE = int(np.float32(2.0**-25).view("int32"))
_HALF = int(np.float32(0.5).view("int32")) - _LOWEST >> _DROPPED_BITS


def auc(labels: Any, scores: Any, sample_weight: Any = None) -> float:
    """Exact AUC: the share of (positive, negative) pairs in the right order, ties counting a half.

    `sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / (sum_i w_i sum_j w_j)` over positives `i` and
    negatives `j`. No thresholds, unlike `keras.metrics.AUC`: one sort of the rows.

    Args:
        labels: 0 or 1, `(rows,)` or `(rows, 1)`.
        scores: Any numbers that rank the rows, `(rows,)` or `(rows, 1)`.
        sample_weight: Weight `w` of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        AUC in [0, 1]; NaN where the observed rows hold one class only, or there are none.

    Raises:
        ValueError: An observed label is not 0 or 1, a score is NaN, or the lengths differ.

    Example:
        >>> keras_infnet.metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    labels, scores, weights, _ = observed_binary_rows(labels, scores, sample_weight)
    if not len(labels):
        return float("nan")
    values, _, _ = auc_by_group(labels, scores, weights, np.zeros(len(labels), "int64"))
    return float(values[0])


@keras.saving.register_keras_serializable(package="keras_infnet")
class AUC(keras.metrics.Metric):
    """Streaming `auc` in bounded memory: rows are counted in cells, 2^14 for each doubling of `p`.

    State `cells (2^20, 2)`: weight of positives and of negatives in each cell, 8 MB. A cell holds
    the probabilities whose float32 numbers (of `p` up to 0.5, of `1 - p` above) begin with the same
    14 bits of fraction, so that rare labels, whose probabilities are small, are told apart as well
    as common ones. Two scores in one cell count as a tie: the value is off by at most
    `sum_c P_c N_c / (2 P N)` over cells `c`. Below 2^-40 all is one cell. A cell counts to 2^24.

    Rows are also counted in 2^11 wider cells `shown`. Compiled steps return the value of these, for
    progress bars; the one at the end of `evaluate`, and `val_{task}_auc` of `fit`, is that of
    `cells`, which training steps of a `RankingModel` leave alone.

    Args:
        **kwargs: Arguments of `keras.metrics.Metric`, such as `name`.

    Call arguments:
        y_true: 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities, like `y_true`.
        sample_weight: Weight of each row, like `y_true`. Defaults to 1.

    Returns:
        Scalar in [0, 1]; NaN where one class only was observed, or a prediction is NaN.

    Example:
        >>> metric = keras_infnet.metrics.AUC()
        >>> metric.update_state([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        >>> float(metric.result())
        0.875
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "auc", **kwargs})
        self._direction = "up"
        self.cells = self._counts(EVALUATION_CELLS, _CELLS)
        self.shown = self._counts("shown", _SHOWN)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, p, weights = flat_rows("float32", y_true, y_pred, sample_weight)
        added = ops.stack([weights * labels, weights * (1 - labels)], axis=-1)
        cells = _cells_of(p)
        add_rows(self.shown, cells // (_CELLS // _SHOWN), added)
        if step_now() != "train":
            add_rows(self.cells, cells, added)

    def result(self) -> Any:
        if step_now() is not None or not can_be_read(self.cells.value):
            return _area(self.shown)
        cells = ops.convert_to_numpy(self.cells)
        if not cells.any():
            cells = ops.convert_to_numpy(self.shown)
        positive, negative = cells[cells.any(axis=1)].astype("float64").T
        pairs_won = positive @ (np.cumsum(negative) - negative / 2)
        with np.errstate(invalid="ignore"):
            area = pairs_won / (positive.sum() * negative.sum())
        return ops.convert_to_tensor(area, "float32")

    def _counts(self, name: str, number: int) -> Any:
        return self.add_variable((number, 2), initializer="zeros", dtype="float32", name=name)


def _cells_of(p: Any) -> Any:
    """Cell of each probability, rising with it."""
    bits = float_bits(ops.minimum(p, 1 - p))
    below = ops.maximum(bits, _LOWEST)
    above = ops.maximum(bits, _LOWEST_BELOW_ONE)
    cells = ops.where(p <= 0.5, below, above) - _LOWEST
    cells = ops.right_shift(cells, _DROPPED_BITS)
    # NaN has bits beyond all.
    return ops.clip(ops.where(p <= 0.5, cells, 2 * _HALF - cells), 0, _CELLS - 1)


def _area(counts: Any) -> Any:
    """AUC of weights of positives and negatives `(cells, 2)`; NaN of one class: 0 / 0."""
    # Sums of blocks: XLA's cumulative sum of all cells at once is slow.
    blocks = ops.reshape(ops.convert_to_tensor(counts), (-1, 2**6, 2))
    positive, negative = blocks[..., 0], blocks[..., 1]
    of_block = ops.sum(negative, axis=1, keepdims=True)
    before = ops.cumsum(of_block, axis=0) - of_block
    below = before + ops.cumsum(negative, axis=1) - negative / 2
    pairs_won = ops.sum(ops.sum(positive * below, axis=1))
    return pairs_won / (ops.sum(positive) * ops.sum(of_block))


def auc_by_group(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AUC, weight of positives and weight of negatives of each group, by one sort.

    Args:
        labels: 0 or 1, `(rows,)`, at least one row.
        scores: `(rows,)`.
        weights: Above 0, `(rows,)`.
        codes: Integer that stands for the row's group, `(rows,)`.

    Returns:
        Three float64 arrays `(groups,)` in ascending order of the codes; AUC is NaN for one class.
    """
    order = np.lexsort((scores, codes))
    codes, scores = codes[order], scores[order]
    positive, negative = (weights * labels)[order], (weights * (1 - labels))[order]

    starts_group = np.append(True, codes[1:] != codes[:-1])
    starts_tie = starts_group | np.append(True, scores[1:] != scores[:-1])
    ties = np.flatnonzero(starts_tie)
    positive, negative = np.add.reduceat(positive, ties), np.add.reduceat(negative, ties)

    groups = np.flatnonzero(starts_group[ties])
    ties_per_group = np.diff(np.append(groups, len(ties)))
    below = np.cumsum(negative) - negative
    below -= np.repeat(below[groups], ties_per_group)
    pairs_won = np.add.reduceat(positive * (below + negative / 2), groups)

    positives, negatives = np.add.reduceat(positive, groups), np.add.reduceat(negative, groups)
    with np.errstate(invalid="ignore"):
        return pairs_won / (positives * negatives), positives, negatives
