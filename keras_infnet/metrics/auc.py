"""Area under the ROC curve, exact: the probability that a positive is scored above a negative."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.metric_rows import (
    add_rows,
    float_bits,
    hand_to_host,
    wait_for_host,
    why_not_to_host,
)
from keras_infnet._backend.traced import is_traced
from keras_infnet._base.within_step import after_step, step_now
from keras_infnet.metrics.observed_rows import observed_binary_rows
from keras_infnet.metrics.streaming import flat_rows

# Each doubling has 2^5 cells: of `p` from 2^-40, of `1 - p` from 2^-24, float32's last below 1.
_CELLS, _DROPPED_BITS = 2**11, 23 - 5
# Name of the variable that training steps of our models leave alone.
EVALUATION_ROWS = "evaluation_rows"
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
    """`auc` for Keras, as exact: rows are collected on the host and sorted once.

    12 bytes of host memory a row, until `reset_state`; scores are float32. The exact value is that
    of `result()` between steps: what `evaluate` returns, and `val_{task}_auc` of `fit`.

    Within steps, and for training (the `train_step` of a `keras.Model`), which collects nothing,
    the value is that of 2^11 cells, 2^5 for each doubling of `p` up to 0.5 and of `1 - p` above: it
    is off by at most `sum_c P_c N_c / (2 P N)`, `P_c` and `N_c` being the weight of positives and
    of negatives in cell `c`. A cell counts to 2^24. So it is, with a warning, in an evaluation by
    several processes, and in steps that XLA on TensorFlow compiles whole: those of a `RankingModel`
    are not. A loop of your own is exact in training too; `reset_state()` in each epoch frees its
    memory. There, and in `evaluate` of another model, JAX waits for Python in each step, so take
    large batches.

    Args:
        **kwargs: Arguments of `keras.metrics.Metric`, such as `name`.

    Call arguments:
        y_true: 0 or 1, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities, like `y_true`.
        sample_weight: Weight of each row, like `y_true`. Defaults to 1.

    Returns:
        Scalar in [0, 1]; NaN where one class only was observed, or a prediction is NaN.

    Raises:
        RuntimeError: `result()` of a state whose rows are not those that were collected, as in a
            stateless loop that does not begin with `reset_state()`.

    Example:
        >>> metric = keras_infnet.metrics.AUC()
        >>> metric.update_state([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        >>> float(metric.result())
        0.875
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "auc", **kwargs})
        self._direction = "up"
        self._collected = _CollectedRows()
        self.shown = self.add_variable((_CELLS, 2), "zeros", "float32", name="shown")
        self.rows = self.add_variable((), "zeros", "int", name=EVALUATION_ROWS)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, p, weights = flat_rows("float32", y_true, y_pred, sample_weight)
        added = ops.stack([weights * labels, weights * (1 - labels)], axis=-1)
        add_rows(self.shown, _cells_of(p), added)
        step = step_now()
        if step == "train":
            return
        self.rows.assign_add(ops.cast(ops.shape(p)[0], self.rows.dtype))
        rows = ops.stack([labels, p, weights])
        reason = why_not_to_host(leaves_step=step == "test")
        if reason is not None:
            self._collected.lacks_rows_because = reason
        elif not after_step(self._collected.add, rows):
            hand_to_host([(self._collected.add, rows)])

    def result(self) -> Any:
        if step_now() is not None or is_traced([self.rows.value]):
            return _area(self.shown)
        wait_for_host()
        counted = int(ops.convert_to_numpy(self.rows))
        if not counted or not self._collected.are_all(counted):
            return _area(self.shown)
        return ops.convert_to_tensor(self._collected.auc())

    def reset_state(self) -> None:
        super().reset_state()
        # A program that was interrupted may still hand over.
        wait_for_host()
        self._collected.clear()


class _CollectedRows:
    """Labels, scores and weights on the host, `(3, rows)` a call."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self.lacks_rows_because: str | None = None

    def add(self, rows: Any) -> None:
        self._parts.append(rows)

    def clear(self) -> None:
        self._parts.clear()

    def are_all(self, counted: int) -> bool:
        """Whether these are all rows that the metric counted; where not, says why, or fails."""
        collected = sum(part.shape[1] for part in self._parts)
        if collected == counted:
            return True
        if self.lacks_rows_because is None:
            raise RuntimeError(
                f"AUC: its state counts {counted} rows, and {collected} were collected. Expected "
                "the rows of one state, in one process: call `reset_state()` before each loop of "
                "`stateless_update_state`, and measure one state with one metric."
            )
        warnings.warn(
            f"AUC is not exact here: {self.lacks_rows_because}. The value is that of 2^11 cells: "
            "scores that agree to 5 bits count as ties. `keras_infnet.metrics.auc` of labels and "
            "`predict` is exact.",
            stacklevel=3,
        )
        return False

    def auc(self) -> np.float32:
        # One array, lest a second call copies all parts again.
        self._parts = [np.concatenate([np.asarray(part) for part in self._parts], axis=1)]
        labels, scores, weights = self._parts[0]
        # The weight of a prediction that is not finite is NaN.
        observed = weights != 0
        if not observed.any() or not np.isfinite(weights).all():
            return np.float32("nan")
        labels, scores, weights = labels[observed], scores[observed], weights[observed]
        codes = np.zeros(len(labels), "int8")
        value, _, _ = auc_by_group(labels, scores, weights.astype("float64"), codes)
        return np.float32(value[0])


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
