import math

import numpy as np
import pytest

from keras_infnet.schema.event_quantity import Age, Ratio
from keras_infnet.schema.programs import BLOCK, Bucketize, learn_edges, number_not_above

AGES, RATIOS = Age().program(None), Ratio("play", "length").program(None)


def test_quantile_buckets_hold_equal_counts():
    values = np.random.default_rng(0).normal(size=1000).astype("float32")
    ids = Bucketize(learn_edges(np.sort(values), 10, "quantile")).numpy(values)
    counts = np.bincount(ids)[1:]
    assert len(counts) == 10 and counts.min() >= 99 and counts.max() <= 101


def test_few_different_values_give_fewer_buckets():
    values = np.array([0] * 90 + [1] * 10, "float32")
    assert learn_edges(values, 10, "quantile").tolist() == [1.0]
    assert len(learn_edges(np.full(5, 3, "float32"), 10, "quantile")) == 0


def test_a_frequent_value_has_a_bucket_of_its_own_and_the_rest_share_the_others():
    # As of a price paid, which is 0 in most rows: quantiles of all rows would give one bucket.
    rng = np.random.default_rng(0)
    paid = np.exp(rng.normal(size=4_000)).astype("float32")
    values = np.concatenate([np.zeros(96_000, "float32"), paid])
    edges = _edges(values, 32)
    expected = np.quantile(paid, np.arange(1, 31) / 31, method="higher")
    np.testing.assert_array_equal(edges[1:], expected)
    assert len(edges) == 31 and edges[0] == paid.min()


def test_of_two_buckets_one_is_of_the_frequent_value():
    values = np.repeat(np.array([0, 5, 7], "float32"), [90, 4, 6])
    assert _edges(values, 2).tolist() == [5.0]


@pytest.mark.parametrize("seed", range(20))
def test_buckets_of_any_counts_are_no_more_than_asked_for(seed):
    rng = np.random.default_rng(seed)
    for buckets in range(2, 40):
        values = np.round(rng.normal(size=rng.integers(1, 200)) ** 3, seed % 3).astype("float32")
        values = np.repeat(values, (3 * rng.pareto(0.7, len(values))).astype("int64") % 999 + 1)
        distinct, counts = np.unique(values, return_counts=True)
        edges = _edges(values, buckets)
        assert len(edges) < buckets and np.all(np.diff(edges) > 0)
        held = np.bincount(np.searchsorted(edges, values, side="right"))
        assert held.min() > 0
        if len(distinct) <= buckets:
            np.testing.assert_array_equal(held, counts)
        # The most frequent value is alone if it fills a bucket by itself, and three are asked for.
        most = counts.argmax()
        if buckets > 2 and counts[most] * (buckets - 1) >= len(values):
            assert counts[most] in held


def _edges(values, buckets):
    distinct, counts = np.unique(values, return_counts=True)
    return learn_edges(distinct, buckets, "quantile", counts)


def test_logarithmic_buckets_have_equal_width_in_the_logarithm_and_one_for_zero():
    values = np.array([0, 1, 10, 100, 1000, 10000], "float32")
    edges = learn_edges(values, 5, "log")
    np.testing.assert_allclose(edges, [1, 10, 100, 1000], rtol=1e-6)
    assert Bucketize(edges).numpy(values).tolist() == [1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize("edges", [0, 1, 20, 255, 256])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_edges_that_are_not_above_are_numpys(edges, dtype):
    rng = np.random.default_rng(edges)
    edges = np.unique(rng.integers(-(10**6), 10**6, edges).astype(dtype))
    values = rng.integers(-(10**6), 10**6, (2, BLOCK)).astype(dtype)
    values[0, : len(edges)] = edges
    expected = np.searchsorted(edges, values, side="right")
    np.testing.assert_array_equal(number_not_above(edges, values), expected)


def test_missing_is_a_bucket_of_its_own():
    edges = np.array([0.0], "float32")
    assert Bucketize(edges).numpy(np.array([np.nan, -5, 5], "float32")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("seconds", [0, 1, 2, 3, 4, 59, 3600, 86400, 2**20 - 2, 2**20 - 1])
def test_ages_are_logarithms_of_seconds(seconds):
    assert AGES.numpy(np.array([seconds]))[0] == 1 + math.floor(math.log2(seconds + 1))


def test_unknown_and_very_old_ages_have_the_end_buckets():
    assert AGES.numpy(np.array([-1, 2**40])).tolist() == [0, 22]


def test_ratios_have_thirteen_buckets_and_one_for_unknown():
    ratios = np.array([np.nan, -1, 0, 0.01, 0.5, 1, 99], "float32")
    assert RATIOS.numpy(ratios).tolist() == [0, 0, 1, 2, 7, 10, 13]
