"""NDCG: how near the top of each list the positives stand, against the best order."""

from typing import Any

import numpy as np

from keras_infnet.metrics.observed_rows import weighted_mean
from keras_infnet.metrics.ranked_lists import ranked_lists


def ndcg(
    labels: Any, scores: Any, groups: Any, k: int | None = 10, sample_weight: Any = None
) -> float:
    """Mean over lists of `DCG / DCG of the best order`, `DCG = sum_{r <= k} y_r / log2(1 + r)`.

    `y_r` is the label at rank `r`, by falling score. Tied rows share the mean of their ranks'
    discounts, as in scikit-learn's `ndcg_score`: no order of them is luck. Lists of one class are
    left out, as in `group_auc`. A list weighs the mean weight of its rows (our choice).

    Args:
        labels: 0 or 1, `(rows,)` or `(rows, 1)`.
        scores: Any numbers that rank the rows, `(rows,)` or `(rows, 1)`.
        groups: Lists, as the groups of `group_auc`. Rows with a missing key are in none.
        k: Ranks that count; `None`: all.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        NDCG in [0, 1]; NaN where no list holds both classes.

    Raises:
        ValueError: `k` is below 1, or as `group_auc`.

    Example:
        >>> keras_infnet.metrics.ndcg([1, 0, 0, 1], [0.9, 0.2, 0.7, 0.6], [5, 5, 8, 8])
        0.815...

    Reference:
        Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002.
    """
    if k is not None and k < 1:
        raise ValueError(f"ndcg: k is {k!r}; expected a whole number, 1 or more, or None for all.")
    lists = ranked_lists(labels, scores, groups, sample_weight)
    if lists is None:
        return float("nan")
    before = np.concatenate([[0.0], np.cumsum(_discounts(int(lists.sizes.max()), k))])
    of_tie = before[lists.tie_ends] - before[lists.tie_starts]
    gains = lists.tie_positives * of_tie / (lists.tie_ends - lists.tie_starts)
    best = before[lists.positives]
    return weighted_mean(np.add.reduceat(gains, lists.first_ties) / best, lists.weights)


def _discounts(ranks: int, k: int | None) -> np.ndarray:
    discounts = 1 / np.log2(np.arange(2, ranks + 2))
    return discounts if k is None else np.where(np.arange(ranks) < k, discounts, 0.0)
