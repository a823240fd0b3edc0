import numpy as np
import pytest

from keras_infnet.layers import ExpertGate
from tests import tiny
from tests.reference.experts import gate
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(5, 4)).astype("float32")
EXPERTS = RNG.normal(size=(5, 3, 6)).astype("float32")
NAMES = ("shared_0", "click_0", "click_1")


@pytest.mark.parametrize(("hidden_dims", "use_bias"), [((), False), ((7, 2), True)])
def test_output_is_the_mixture_by_softmax_shares(hidden_dims, use_bias):
    layer = ExpertGate(NAMES, hidden_dims, use_bias, name="gate")
    w = Weights.of(tiny.randomise_after(layer, INPUTS, EXPERTS)) / "gate"
    mixture, shares = layer(INPUTS, EXPERTS)
    expected = gate(INPUTS, w)
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    np.testing.assert_allclose(mixture, np.einsum("bk,bkd->bd", expected, EXPERTS), atol=1e-5)
    assert len(layer.weights) == 1 + 2 * len(hidden_dims) + use_bias


@pytest.mark.parametrize(
    ("names", "hidden_dims", "message"),
    [
        (("expert_0",), (), "2 or more experts.*'expert_0'"),
        (("a", "b", "a"), (), "a name of its own"),
        (NAMES, (4, 0), "`hidden_dims` must be 1 or more. Received: \\(4, 0\\)"),
    ],
)
def test_arguments_out_of_range_are_errors(names, hidden_dims, message):
    with pytest.raises(ValueError, match=message):
        ExpertGate(names, hidden_dims)


def test_another_number_of_experts_is_an_error():
    with pytest.raises(ValueError, match="3 experts; expected 2, one for each of \\['a', 'b'\\]"):
        ExpertGate(["a", "b"])(INPUTS, EXPERTS)
