"""Buckets of numbers, of ages and of ratios."""

import numpy as np
from keras_infnet.schema.UNKNOWN import NUM_AGE_BUCKETS, RATIO_EDGES

from keras_infnet.schema.canonical import flush

# Whole seconds, so that the bucket 1 + floor(log2(seconds + 1)) is exact.
AGE_EDGES = 2 ** np.arange(NUM_AGE_BUCKETS - 1, dtype="int64") - 1


def learn_edges(
    values: np.ndarray, buckets: int, bucketing: str, counts: np.ndarray | None = None
) -> np.ndarray:
    """Edges that cut the values that are not NaN into at most `buckets` buckets.

    Args:
        values: float32 array, NaN for missing.
        buckets: Most buckets wanted.
        bucketing: `"quantile"` or `"log"`.
        counts: How often each value occurs. Defaults to once.

    Returns:
        Increasing float32 array of at most `buckets - 1` edges; bucket `k` holds `edges[k-1] <= x <
        edges[k]`.
    """
    counts = np.ones(len(values), "int64") if counts is None else counts
    known = values > 0 if bucketing == "log" else ~np.isnan(values)
    values, counts = values[known].astype("float64"), counts[known]
    if not len(values):
        return np.zeros(0, "float32")
    if bucketing == "quantile":
        order = np.argsort(values, kind="stable")
        ends = np.cumsum(counts[order])
        ranks = np.ceil((ends[-1] - 1) * (np.arange(1, buckets) / buckets))
        edges = values[order[np.searchsorted(ends, ranks, side="right")]]
        edges = edges[edges > values.min()]
    else:
        # The first edge is the smallest positive value: 0 and below keep the lowest bucket to
        # themselves.
        edges = np.geomspace(values.min(), values.max(), buckets)[: buckets - 1]
    return np.unique(flush(edges.astype("float32")))


def number_ids(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """`1 +` bucket of each number, 0 where it is NaN."""
    ids = 1 + np.searchsorted(edges, np.nan_to_num(values), side="right")
    return np.where(np.isnan(values), 0, ids).astype("int32")


def age_ids(seconds: np.ndarray) -> np.ndarray:
    """`1 + floor(log2(seconds + 1))`, at most 22; 0 (unknown) below 0 seconds."""
    return np.searchsorted(AGE_EDGES, seconds, side="right").astype("int32")


def ratio_ids(ratios: np.ndarray) -> np.ndarray:
    """`1 +` bucket of each ratio; 0 (unknown) where it is NaN or negative."""
    edges = np.array(RATIO_EDGES, "float32")
    return np.where(ratios >= 0, 1 + np.searchsorted(edges, ratios, side="right"), 0).astype(
        "int32"
    )
