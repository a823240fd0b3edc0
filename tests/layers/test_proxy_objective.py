import keras
import numpy as np
import pytest

from keras_infnet.layers import ProxyObjective
from tests import tiny
from tests.gradients import gradients
from tests.reference.objective import information, redundancy

RNG = np.random.default_rng(0)
PROXIES = RNG.normal(size=(5, 3, 4)).astype("float32")
TOKENS = RNG.normal(size=(5, 6, 2)).astype("float32")
# The first row has no token.
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 4, 1])[:, None]
ALL = np.ones((5, 6), bool)


def made(**arguments):
    layer = ProxyObjective(**{"weight": 0.5, "redundancy_weight": 3.0, **arguments})
    return tiny.randomise_after(layer, PROXIES, TOKENS)


def expected(layer, proxies, tokens, mask):
    proxies, tokens, kernel = (
        np.array(x, "float64") for x in (proxies, tokens, layer.get_weights()[0])
    )
    bound = information(proxies, tokens, mask, kernel, layer.temperature)
    return bound, redundancy(proxies, mask)


@pytest.mark.parametrize("mask", [None, MASK, ~ALL], ids=["full", "padded", "nothing"])
def test_the_loss_equals_loops_over_rows_and_pairs(mask):
    layer, there = made(temperature=0.7), ALL if mask is None else mask
    proxies, tokens = PROXIES.copy(), np.where(there[:, :, None], TOKENS, np.nan)
    proxies[1, 2] = 0
    np.testing.assert_array_equal(layer(proxies, tokens, tokens_mask=mask, training=True), proxies)
    bound, alike = expected(layer, proxies, tokens, there)
    np.testing.assert_allclose(np.array(layer.figures), [bound, alike], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(float(layer.losses[0]), 0.5 * (3 * alike - bound), rtol=1e-5)


def test_there_is_no_loss_outside_training():
    layer = made()
    layer(PROXIES, TOKENS, training=False)
    assert layer.losses == [] and layer.figures is None


def network():
    """From tokens to proxies, by a matrix, and to the objective."""
    tokens, mask = keras.Input((6, 2), name="tokens"), keras.Input((6,), dtype="bool", name="mask")
    flat = keras.layers.Flatten()(tokens)
    proxies = keras.layers.Dense(12, use_bias=False, name="proxies")(flat)
    proxies = keras.layers.Reshape((3, 4))(proxies)
    objective = ProxyObjective(weight=0.5, redundancy_weight=3.0, temperature=0.7, name="objective")
    model = keras.Model([tokens, mask], objective(proxies, tokens, tokens_mask=mask))
    return tiny.randomise(model)


def gradients_of(model, rows=slice(None)):
    given = [TOKENS[rows], MASK[rows]]
    return gradients(model, given, lambda outputs: keras.ops.zeros(()), training=True)


def test_gradients_equal_finite_differences_of_the_loops():
    model = network()
    weights = {v.path: np.array(v, "float64") for v in model.weights}

    def loss(weights):
        proxies = TOKENS.reshape(5, 12).astype("float64") @ weights["proxies/kernel"]
        proxies = proxies.reshape(5, 3, 4)
        bound = information(proxies, TOKENS, MASK, weights["objective/kernel"], 0.7)
        return 0.5 * (3 * redundancy(proxies, MASK) - bound)

    for path, gradient in gradients_of(model).items():
        direction = RNG.normal(size=gradient.shape)
        sides = [
            loss({**weights, path: weights[path] + sign * 1e-5 * direction}) for sign in (1, -1)
        ]
        slope = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-3)


def test_one_row_alone_says_nothing_and_has_no_gradient():
    # Of the two rows, the first has no token.
    for rows in (slice(1, 2), slice(2)):
        model = network()
        model([TOKENS[rows], MASK[rows]], training=True)
        assert float(model.get_layer("objective").figures[0]) == 0
        assert not np.any(gradients_of(model, rows)["objective/kernel"])


def test_proxies_of_norm_zero_have_finite_gradients():
    model = network()
    model.get_layer("proxies").set_weights([np.zeros((12, 12), "float32")])
    found = gradients_of(model)
    assert all(np.isfinite(g).all() for g in found.values())
    assert np.any(found["proxies/kernel"])


def test_one_proxy_alone_has_no_redundancy():
    layer = made()
    layer(PROXIES[:, :1], TOKENS, training=True)
    assert float(layer.figures[1]) == 0


def test_half_precision_computes_in_float32():
    layer = made(dtype="float16")
    proxies, tokens = (PROXIES * 100).astype("float16"), (TOKENS * 300).astype("float16")
    assert layer(proxies, tokens, training=True).dtype == "float16"
    assert layer.losses[0].dtype == "float32"
    bound, alike = expected(layer, proxies, tokens, ALL)
    np.testing.assert_allclose(np.array(layer.figures), [bound, alike], rtol=1e-4)


@pytest.mark.parametrize(
    "arguments", [{"weight": 0}, {"redundancy_weight": -1}, {"temperature": 0}]
)
def test_arguments_out_of_range_are_errors(arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(ValueError, match=f"must be above 0, and.*{name}={value}"):
        ProxyObjective(**{"weight": 1.0, **arguments})


def test_an_unknown_number_of_proxies_is_an_error():
    with pytest.raises(ValueError, match="proxies of shape .None, None, 4.; expected a known"):
        ProxyObjective(weight=1.0)(keras.Input((None, 4)), keras.Input((6, 2)))
