import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet.layers import PerTokenFeedForward
from tests import tiny
from tests.gradients import gradients
from tests.reference import mixing
from tests.reference.textbook import Weights

TOKENS = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_output_equals_the_formula(activation):
    layer = tiny.randomise_after(PerTokenFeedForward(2, activation), TOKENS)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    np.testing.assert_allclose(layer(TOKENS), mixing.feed_forward(weights, TOKENS), atol=1e-5)


def test_equal_weights_are_one_shared_layer():
    layer = tiny.randomise_after(PerTokenFeedForward(2, "relu"), TOKENS)
    layer.set_weights([np.repeat(np.array(w)[:1], 3, 0) for w in layer.weights])
    first, second = layer.in_kernel[0], layer.out_kernel[0]
    in_bias, out_bias = (bias[0, 0] for bias in layer.biases)
    expected = ops.relu(ops.matmul(TOKENS, first) + in_bias)
    expected = ops.matmul(expected, second) + out_bias
    np.testing.assert_allclose(layer(TOKENS), expected, atol=1e-6)


def test_weights_of_a_token_learn_from_that_token_alone():
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, PerTokenFeedForward(2, name="layer")(inputs))
    found = gradients(tiny.randomise(model), TOKENS, lambda y: ops.sum(y[:, 1] ** 2))
    assert len(found) == 4
    for gradient in found.values():
        assert np.abs(gradient[1]).max() > 0
        assert not gradient[[0, 2]].any()


def test_each_kernel_starts_as_glorot_s_of_one_token():
    layer = PerTokenFeedForward(4)
    layer.build((None, 50, 32))
    limit = np.sqrt(6 / (32 + 128))
    for kernel in (np.array(layer.in_kernel), np.array(layer.out_kernel)):
        assert 0.99 * limit < np.abs(kernel).max() <= limit


def test_dropout_is_only_in_training():
    layer = tiny.randomise_after(PerTokenFeedForward(2, dropout=0.5), TOKENS)
    np.testing.assert_array_equal(layer(TOKENS), layer(TOKENS))
    assert (np.array(layer(TOKENS, training=True)) == 0).any()


@pytest.mark.parametrize(
    ("name", "value"), [("expansion", 0), ("activation", "tanh"), ("dropout", 1.0)]
)
def test_wrong_arguments_are_errors_that_show_them(name, value):
    with pytest.raises(ValueError, match=f"must be 1 or more.*{name}={value!r}"):
        PerTokenFeedForward(**{name: value})


def test_an_unknown_number_of_tokens_is_an_error():
    with pytest.raises(ValueError, match=r"\(None, None, 4\); expected a known number of tokens"):
        PerTokenFeedForward()(keras.Input((None, 4)))
