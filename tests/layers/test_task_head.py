import numpy as np
import pytest

from keras_infnet.layers import TaskHead
from tests import tiny

INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_output_equals_the_formula(activation):
    layer = tiny.randomise_after(TaskHead(hidden_dim=3, activation=activation), INPUTS)
    w1, b1, w2, b2 = layer.get_weights()
    value = np.maximum(INPUTS @ w1 + b1, 0) @ w2 + b2
    expected = 1 / (1 + np.exp(-value)) if activation else value
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-6)


def test_without_hidden_layer_it_is_linear():
    layer = tiny.randomise_after(TaskHead(hidden_dim=None, activation=None), INPUTS)
    w, b = layer.get_weights()
    np.testing.assert_allclose(layer(INPUTS), INPUTS @ w + b, atol=1e-6)


@pytest.mark.parametrize(("units", "bias"), [(1, -3.5), (2, [0.5, -1.0])])
def test_it_starts_at_the_bias(units, bias):
    layer = TaskHead(units=units, activation=None, bias=bias)
    expected = np.broadcast_to(bias, (1, units))
    np.testing.assert_allclose(layer(np.zeros((1, 4), "float32")), expected, rtol=1e-5)


def test_probabilities_of_several_units_sum_to_one():
    layer = tiny.randomise_after(TaskHead(units=3, activation="softmax"), INPUTS)
    np.testing.assert_allclose(np.sum(layer(INPUTS), -1), 1, atol=1e-6)


@pytest.mark.parametrize("bias", [float("inf"), [0.0, 0.0]])
def test_a_bias_that_is_not_finite_or_not_one_a_unit_is_an_error(bias):
    with pytest.raises(ValueError, match="`bias` must be a finite number, or one for each unit"):
        TaskHead(bias=bias)


def test_a_size_of_zero_is_an_error():
    with pytest.raises(ValueError, match="must be 1 or more.*units=0"):
        TaskHead(units=0)
