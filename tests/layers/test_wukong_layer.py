import numpy as np
import pytest

from keras_infnet.layers import WuKongLayer
from tests import tiny
from tests.reference import interactions
from tests.reference.textbook import Weights

TOKENS = np.random.default_rng(0).normal(size=(4, 7, 6)).astype("float32")


@pytest.mark.parametrize("num_fmb_tokens", [3, 5])
@pytest.mark.parametrize("hidden_dims", [(), (9,), (9, 5)])
def test_output_equals_the_formula(num_fmb_tokens, hidden_dims):
    layer = tiny.randomise_after(WuKongLayer(num_fmb_tokens, 2, 3, hidden_dims), TOKENS)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    expected = interactions.wukong(weights, TOKENS)
    assert expected.shape == (4, num_fmb_tokens + 2, 6)
    np.testing.assert_allclose(layer(TOKENS), expected, atol=1e-5)


def test_tokens_of_the_same_number_are_kept_without_a_matrix():
    layer = WuKongLayer(5, 2)
    layer.build((None, 7, 6))
    assert layer.residual is None


def test_dropout_is_only_in_training():
    layer = tiny.randomise_after(WuKongLayer(3, 2, dropout=0.5), TOKENS)
    np.testing.assert_array_equal(layer(TOKENS), layer(TOKENS))
    assert np.abs(np.array(layer(TOKENS, training=True)) - layer(TOKENS)).max() > 1e-3


@pytest.mark.parametrize("size", ["num_fmb_tokens", "num_lcb_tokens", "projection_dim"])
def test_a_size_of_zero_is_an_error_that_shows_it(size):
    sizes = {"num_fmb_tokens": 3, "num_lcb_tokens": 2, size: 0}
    with pytest.raises(ValueError, match=f"must be 1 or more.*{size}=0"):
        WuKongLayer(**sizes)
