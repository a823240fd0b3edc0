"""Area under the ROC curve, exact: the probability that a positive is scored above a negative."""

from typing import Any

import numpy as np

from keras_infnet.metrics.observed_rows import observed_binary_rows


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
