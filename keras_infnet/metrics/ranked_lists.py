"""Ranked lists: the rows of every list by falling score, ties together, from one sort."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_infnet.metrics.group_codes import grouped_rows


@dataclass(frozen=True)
class RankedLists:
    """Lists that hold both classes, and their ties: rows of one score.

    Args:
        sizes: Rows, `(lists,)`.
        positives: Positives, `(lists,)`.
        weights: Mean weight of the rows, `(lists,)`.
        first_ties: Place of the list's first tie, `(lists,)`.
        tie_starts: Rows of the list above the tie, `(ties,)`.
        tie_ends: Rows of the list down to the tie's last, `(ties,)`.
        tie_positives: Positives of the tie, `(ties,)`.
    """

    sizes: np.ndarray
    positives: np.ndarray
    weights: np.ndarray
    first_ties: np.ndarray
    tie_starts: np.ndarray
    tie_ends: np.ndarray
    tie_positives: np.ndarray


def ranked_lists(
    labels: Any, scores: Any, groups: Any, sample_weight: Any = None
) -> RankedLists | None:
    """The lists; `None` where none holds both classes. Arguments and errors are `group_auc`'s."""
    labels, scores, weights, codes = grouped_rows(labels, scores, groups, sample_weight)
    rows, both = np.bincount(codes), np.bincount(codes, labels)
    both = (both > 0) & (both < rows)
    if not both.any():
        return None
    kept = both[codes]
    codes, labels, scores, weights = (a[kept] for a in (codes, labels, scores, weights))
    order = np.lexsort((-scores, codes))
    codes, labels, scores, weights = (a[order] for a in (codes, labels, scores, weights))

    starts_list = np.append(True, codes[1:] != codes[:-1])
    ties = np.flatnonzero(starts_list | np.append(True, scores[1:] != scores[:-1]))
    firsts = np.flatnonzero(starts_list)
    first_of_tie = firsts[np.searchsorted(firsts, ties, "right") - 1]
    sizes = np.diff(np.append(firsts, len(codes)))
    return RankedLists(
        sizes,
        np.add.reduceat(labels, firsts).astype("int64"),
        np.add.reduceat(weights, firsts) / sizes,
        np.searchsorted(ties, firsts),
        ties - first_of_tie,
        np.append(ties[1:], len(codes)) - first_of_tie,
        np.add.reduceat(labels, ties),
    )
