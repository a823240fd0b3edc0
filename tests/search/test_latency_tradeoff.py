import numpy as np
import pytest

from keras_infnet.search import LatencyTradeoff
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
    assert search._training.policy.score(logs) == pytest.approx(expected)
