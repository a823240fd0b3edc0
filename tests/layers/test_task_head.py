import numpy as np
import pytest

from keras_infnet.layers import TaskHead
from tests import tiny

INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_output_equals_the_formula(kind):
    layer = tiny.randomise_after(TaskHead(hidden_dim=3, kind=kind), INPUTS)
    w1, b1, w2, b2 = layer.get_weights()
    value = np.maximum(INPUTS @ w1 + b1, 0) @ w2 + b2
    expected = 1 / (1 + np.exp(-value)) if kind == "binary" else value
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "rate"), [("binary", 0.017), ("regression", -3.5)])
def test_it_starts_at_the_base_rate(kind, rate):
    layer = TaskHead(kind=kind, base_rate=rate)
    np.testing.assert_allclose(layer(np.zeros((1, 4), "float32")), [[rate]], rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_base_rate_at_the_edge_is_finite(rate):
    assert np.isfinite(TaskHead(base_rate=rate)(INPUTS)).all()


def test_a_base_rate_that_is_no_probability_is_an_error():
    with pytest.raises(ValueError, match="must be a probability.*base_rate=1.5"):
        TaskHead(base_rate=1.5)


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="kind='ranking'"):
        TaskHead(kind="ranking")
