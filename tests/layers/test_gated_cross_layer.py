import numpy as np
import pytest

from keras_infnet.layers import GatedCrossLayer
from tests import tiny
from tests.reference import interactions
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
X0, X = RNG.normal(size=(2, 4, 6)).astype("float32")


def built():
    layer = tiny.randomise_after(GatedCrossLayer(), X0, X)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    return layer, weights


def test_output_equals_the_formula():
    layer, w = built()
    np.testing.assert_allclose(layer(X0, X), interactions.gated_cross(w, X0, X), atol=1e-5)


def test_the_gate_can_be_read():
    layer, w = built()
    np.testing.assert_allclose(layer.gate_vector(X), interactions.gate(w, X), atol=1e-6)


def test_a_closed_gate_leaves_the_layer_before():
    layer, _ = built()
    layer.gate.kernel.assign(np.full((6, 6), -50.0))
    x = np.abs(X)
    np.testing.assert_allclose(layer(X0, x), x, atol=1e-6)


def test_inputs_of_two_widths_are_an_error():
    with pytest.raises(ValueError, match="`x0` is 6 wide, `x` 5; expected equal widths"):
        GatedCrossLayer()(X0, X[:, :5])
