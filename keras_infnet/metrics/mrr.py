"""MRR: the mean over lists of one over the rank of the first positive."""

from typing import Any

import numpy as np

from keras_infnet.metrics.observed_rows import weighted_mean
from keras_infnet.metrics.ranked_lists import ranked_lists


def mean_reciprocal_rank(labels: Any, scores: Any, groups: Any, sample_weight: Any = None) -> float:
    """Mean over lists of `1 / r`, `r` the rank of the list's best positive by falling score.

    Where rows tie with it, `r` is what is expected of a random order of them: `1` and the negatives
    above, and the tied negatives over one more than the tied positives (our choice). Lists of one
    class are left out, as in `group_auc`. A list weighs the mean weight of its rows (our choice).

    Args:
        labels: 0 or 1, `(rows,)` or `(rows, 1)`.
        scores: Any numbers that rank the rows, `(rows,)` or `(rows, 1)`.
        groups: Lists, as the groups of `group_auc`. Rows with a missing key are in none.
        sample_weight: Weight of each row; rows of weight 0 are left out. Defaults to 1.

    Returns:
        MRR in (0, 1]; NaN where no list holds both classes.

    Raises:
        ValueError: As `group_auc`.

    Example:
        >>> keras_infnet.metrics.mean_reciprocal_rank(
        ...     [1, 0, 0, 1], [0.9, 0.2, 0.7, 0.6], [5, 5, 8, 8]
        ... )
        0.75
    """
    lists = ranked_lists(labels, scores, groups, sample_weight)
    if lists is None:
        return float("nan")
    holds = np.flatnonzero(lists.tie_positives > 0)
    # The first tie of each list with a positive in it.
    first = holds[np.searchsorted(holds, lists.first_ties)]
    positives = lists.tie_positives[first]
    negatives = (lists.tie_ends - lists.tie_starts)[first] - positives
    rank = 1 + lists.tie_starts[first] + negatives / (positives + 1)
    return weighted_mean(1 / rank, lists.weights)
