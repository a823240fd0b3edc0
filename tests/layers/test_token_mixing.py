import keras
import numpy as np
import pytest

from keras_infnet.layers import TokenMixing
from tests.reference import mixing

TOKENS = np.random.default_rng(0).normal(size=(5, 4, 12)).astype("float32")


def test_parts_of_tokens_trade_places():
    np.testing.assert_array_equal(TokenMixing()(TOKENS), mixing.mix(TOKENS).astype("float32"))
    axes = TOKENS.reshape(5, 4, 4, 3).swapaxes(1, 2).reshape(5, 4, 12)
    np.testing.assert_array_equal(TokenMixing()(TOKENS), axes)


def test_mixing_is_its_own_inverse_and_keeps_all_numbers():
    mixed = TokenMixing()(TOKENS)
    np.testing.assert_array_equal(TokenMixing()(mixed), TOKENS)
    sorted_numbers = (np.sort(np.reshape(x, (5, -1))) for x in (mixed, TOKENS))
    np.testing.assert_array_equal(*sorted_numbers)


@pytest.mark.parametrize("shape", [(3, 8), (None, 8)])
def test_tokens_that_do_not_divide_their_width_are_an_error(shape):
    with pytest.raises(ValueError, match=f"{shape[0]} tokens of width 8; expected a number"):
        TokenMixing()(keras.Input(shape))
