import math

import numpy as np
import pytest

from keras_infnet.schema.programs import age_ids, learn_edges, number_ids, ratio_ids


def test_quantile_buckets_hold_equal_counts():
    values = np.random.default_rng(0).normal(size=1000).astype("float32")
    ids = number_ids(values, learn_edges(values, 10, "quantile"))
    counts = np.bincount(ids)[1:]
    assert len(counts) == 10 and counts.min() >= 99 and counts.max() <= 101


def test_quantiles_that_fall_together_give_fewer_buckets():
    values = np.array([0] * 90 + [1] * 10, "float32")
    assert learn_edges(values, 10, "quantile").tolist() == [1.0]
    assert len(learn_edges(np.full(5, 3, "float32"), 10, "quantile")) == 0


def test_logarithmic_buckets_have_equal_width_in_the_logarithm_and_one_for_zero():
    values = np.array([0, 1, 10, 100, 1000, 10000], "float32")
    edges = learn_edges(values, 5, "log")
    np.testing.assert_allclose(edges, [1, 10, 100, 1000], rtol=1e-6)
    assert number_ids(values, edges).tolist() == [1, 2, 3, 4, 5, 5]


def test_missing_is_a_bucket_of_its_own():
    assert number_ids(
        np.array([np.nan, -5, 5], "float32"), np.array([0.0], "float32")
    ).tolist() == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("seconds", [0, 1, 2, 3, 4, 59, 3600, 86400, 2**20 - 2, 2**20 - 1])
def test_ages_are_logarithms_of_seconds(seconds):
    assert age_ids(np.array([seconds]))[0] == 1 + math.floor(math.log2(seconds + 1))


def test_unknown_and_very_old_ages_have_the_end_buckets():
    assert age_ids(np.array([-1, 2**40])).tolist() == [0, 22]


def test_ratios_have_thirteen_buckets_and_one_for_unknown():
    ratios = np.array([np.nan, -1, 0, 0.01, 0.5, 1, 99], "float32")
    assert ratio_ids(ratios).tolist() == [0, 0, 1, 2, 7, 10, 13]
