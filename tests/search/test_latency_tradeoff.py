import numpy as np
import pytest

from keras_infnet.search import LatencyTradeoff, pareto_front
from keras_infnet.training import TaskPolicy
from tests.search.small_search import small_search

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("milliseconds", [0.25, 1.0, 7.5])
def test_halving_the_time_is_worth_the_price(milliseconds):
    tradeoff = LatencyTradeoff(price=0.01)
    expected = 0.7 - 0.01 * np.log2(milliseconds)
    assert tradeoff.score(0.7, milliseconds) == pytest.approx(expected)
    assert tradeoff.score(0.7, milliseconds / 2) == pytest.approx(expected + 0.01)


@pytest.mark.parametrize("price", [-1.0, float("nan")])
def test_a_negative_price_is_an_error_that_shows_it(price):
    with pytest.raises(ValueError, match=f"price is {price}; expected 0 or more"):
        LatencyTradeoff(price=price)


def test_weights_and_floors_of_the_quality_reach_the_score(tmp_path):
    policy = TaskPolicy(weights={"click": 3, "like": 1}, floors={"like": 0.9})
    search = small_search(tmp_path / "search", objective=LatencyTradeoff(policy))
    logs = {"val_click_auc": 0.8, "val_like_auc": 0.6}
    expected = np.average([0.8, 0.6], weights=[3, 1]) - 1000 * (1 + 0.3)
    assert search._training.objective.quality.score(logs) == pytest.approx(expected)


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
