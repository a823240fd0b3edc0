import numpy as np
import pytest

from keras_infnet.search import pareto_front

pytestmark = pytest.mark.one_backend


def brute_force(quality, cost):
    points = list(zip(quality, cost, strict=True))
    return [
        not any(q >= a and c <= b and (q > a or c < b) for q, c in points)
        and not (np.isnan(a) or np.isnan(b))
        for a, b in points
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_front_equals_a_comparison_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    # Few different values: equal points and equal coordinates occur.
    quality, cost = rng.integers(0, 5, (2, 12)).astype("float64")
    quality[rng.random(12) < 0.1] = np.nan
    assert pareto_front(quality, cost).tolist() == brute_force(quality, cost)


def test_no_points_have_no_front():
    assert pareto_front([], []).tolist() == []


def test_lists_of_different_lengths_are_an_error_that_shows_the_shapes():
    with pytest.raises(ValueError, match=r"same length.*\(2,\) and \(1,\)"):
        pareto_front([1, 2], [1])
