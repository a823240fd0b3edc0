"""Ranked lists: the rows of every list by falling score, ties together, from one sort."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_infnet.metrics.group_codes import group_codes, key_columns
from keras_infnet.metrics.observed_rows import check_order, observed_binary_rows


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
    codes = group_codes(groups)
    for keys in key_columns(groups):
        check_order(labels=labels, groups=keys)
    labels, scores, weights, observed = observed_binary_rows(labels, scores, sample_weight)
    if len(codes) != len(observed):
        raise ValueError(
            f"The groups must have one key a row. Received: {len(codes)} keys and "
            f"{len(observed)} labels. Several key columns go in a list: groups=[user, day]."
        )
    codes = codes[observed]
    rows = np.bincount(codes[codes >= 0])
    both = np.bincount(codes[codes >= 0], labels[codes >= 0])
    both = (both > 0) & (both < rows)
    if not both.any():
        return None
    kept = (codes >= 0) & both[codes]
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
