"""Which trials no other trial beats in both quality and time."""

from typing import Any

import numpy as np


def pareto_front(quality: Any, cost: Any) -> np.ndarray:
    """Mask of the points that no other point dominates.

    A point is dominated where another one has at least its quality at no more than its cost, and
    is better in one of the two. Equal points stand on the front together; NaN never does.

    Args:
        quality: Numbers `(points,)`, higher is better, such as AUC.
        cost: Numbers `(points,)`, lower is better, such as milliseconds.

    Returns:
        Booleans `(points,)`.

    Raises:
        ValueError: The two are not of the same length.

    Example:
        >>> keras_infnet.search.pareto_front([0.7, 0.8, 0.75], [1.0, 2.0, 3.0]).tolist()
        [True, True, False]
    """
    quality, cost = np.asarray(quality, "float64"), np.asarray(cost, "float64")
    if quality.shape != cost.shape or quality.ndim != 1:
        raise ValueError(
            "pareto_front: `quality` and `cost` must be two lists of the same length. Received "
            f"shapes: {quality.shape} and {cost.shape}"
        )
    front = np.zeros(quality.shape, bool)
    known = np.flatnonzero(~(np.isnan(quality) | np.isnan(cost)))
    # From the cheapest on, the best first among equals: on the front is what beats all before it.
    order = known[np.lexsort((-quality[known], cost[known]))]
    if not len(order):
        return front
    sorted_quality, sorted_cost = quality[order], cost[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(sorted_quality)[:-1]])
    better = sorted_quality > best_before
    better[0] = True
    # A repeated point equals the last one that was better.
    last = np.maximum.accumulate(np.where(better, np.arange(len(order)), 0))
    equal_best = (sorted_quality == sorted_quality[last]) & (sorted_cost == sorted_cost[last])
    front[order] = better | equal_best
    return front
