import numpy as np
import pytest

from keras_infnet.layers import ProxyGatedUnit
from tests import tiny
from tests.reference.textbook import Weights, dense, gated_unit, relu, sigmoid

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 8)).astype("float32")
PROXIES = RNG.normal(size=(4, 3, 5)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]


def built(**arguments):
    layer = tiny.randomise_after(ProxyGatedUnit(dim=8, **arguments), TOKENS, PROXIES)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    return layer, weights


@pytest.mark.parametrize("hidden_dim", [None, 7])
@pytest.mark.parametrize("gate", ["sigmoid", "affine"])
def test_output_equals_the_formula(gate, hidden_dim):
    layer, w = built(gate=gate, hidden_dim=hidden_dim)
    mlp = [w / name for name in ("hidden", "control")[hidden_dim is None :]]
    expected = gated_unit(TOKENS, PROXIES, mlp, gate, w / "norm")
    np.testing.assert_allclose(layer(TOKENS, PROXIES), expected, atol=1e-5)


def test_interpolation_equals_the_formula():
    layer, w = built(gate="interpolate")
    p = np.repeat(dense(PROXIES.reshape(4, 1, 15), w / "control"), 6, axis=1)
    joint = np.concatenate([TOKENS, p], -1)
    kernel = np.concatenate([(w / "tokens")["kernel"], (w / "proxies")["kernel"]])
    g, h = np.split(joint @ kernel + (w / "proxies")["bias"], 2, -1)
    expected = sigmoid(g) * relu(h) + (1 - sigmoid(g)) * TOKENS
    np.testing.assert_allclose(layer(TOKENS, PROXIES), expected, atol=1e-5)


@pytest.mark.parametrize("gate", ["sigmoid", "affine", "interpolate"])
def test_padded_tokens_come_out_as_zeros(gate):
    layer, _ = built(gate=gate)
    output = np.array(layer(TOKENS, PROXIES, tokens_mask=MASK))
    np.testing.assert_array_equal(output[~MASK], 0)
    np.testing.assert_array_equal(output[MASK], np.array(layer(TOKENS, PROXIES))[MASK])


def test_gate_vector_is_what_tokens_are_multiplied_by():
    layer, _ = built()
    gate = layer.gate_vector(PROXIES)
    assert tuple(gate.shape) == (4, 1, 8)
    np.testing.assert_allclose(layer(TOKENS, PROXIES), TOKENS * np.array(gate), atol=1e-6)


def test_channel_gates_are_what_each_channel_is_multiplied_by():
    for gate in ("sigmoid", "affine", "interpolate"):
        layer, w = built(gate=gate)
        control = dense(PROXIES.reshape(4, 1, 15), w / "control")
        if gate == "interpolate":
            joint = TOKENS @ (w / "tokens")["kernel"] + dense(control, w / "proxies")
            expected = 1 - sigmoid(joint[:, :, :8])
        else:
            expected = sigmoid(control[:, :, :8]) + (gate == "affine")
        np.testing.assert_allclose(layer.channel_gates(TOKENS, PROXIES), expected, atol=1e-6)


def test_gate_vector_of_another_gate_is_an_error():
    with pytest.raises(ValueError, match='gate="affine" is not a vector'):
        built(gate="affine")[0].gate_vector(PROXIES)


def test_an_unknown_gate_is_an_error():
    with pytest.raises(ValueError, match="gate='tanh'"):
        ProxyGatedUnit(dim=8, gate="tanh")


def test_tokens_of_another_width_are_an_error():
    with pytest.raises(ValueError, match="tokens of width 8; expected dim=4"):
        ProxyGatedUnit(dim=4)(TOKENS, PROXIES)
