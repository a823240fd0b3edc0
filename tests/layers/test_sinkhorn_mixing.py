import keras
import numpy as np
import pytest

from keras_infnet.layers import SinkhornMixing
from keras_infnet.layers.sinkhorn_mixing import sinkhorn
from tests import tiny
from tests.reference import mixing, token_models
from tests.reference.textbook import Weights

TOKENS = np.random.default_rng(0).normal(size=(5, 2, 8)).astype("float32")
LOGITS = np.random.default_rng(1).normal(size=(3, 6, 6)).astype("float32")


@pytest.mark.parametrize(
    ("arguments", "tau"),
    [
        ({}, 1.0),
        ({"lite": True, "num_bases": 3, "rank": 2}, 1.0),
        ({"rounds": 2, "last_tau": 0.5, "hold_steps": 10, "cooling_steps": 40}, 0.75),
    ],
)
def test_output_equals_the_formula(arguments, tau):
    layer = tiny.randomise_after(SinkhornMixing(4, **arguments), TOKENS)
    layer.steps.assign(30)
    w = Weights.of(layer)
    w.prefix = f"{layer.name}/"
    expected = token_models.sinkhorn_mixing(w, TOKENS, 4, tau, layer.rounds)
    np.testing.assert_allclose(layer(TOKENS), expected, atol=1e-5)


def test_columns_sum_to_one_and_rows_the_closer_the_more_rounds():
    for tau in (1.0, 0.05):
        matrices = np.array(sinkhorn(LOGITS, tau, 5))
        np.testing.assert_allclose(matrices.sum(-2), 1, atol=1e-5)
    warm = np.array(sinkhorn(LOGITS, 1.0, 20))
    np.testing.assert_allclose(warm.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(warm, warm.swapaxes(1, 2), atol=1e-5)


def test_no_row_vanishes_where_logits_are_far_apart():
    far = np.diag([0.0, -50.0, -400.0]).astype("float32") - 1000.0
    matrix = np.array(sinkhorn(far, 0.05, 5))
    np.testing.assert_allclose(matrix.sum(0), 1, atol=1e-5)
    assert np.isfinite(matrix).all() and (matrix.sum(1) > 0.1).all()


def cold(tokens, dim):
    layer = SinkhornMixing(dim // tokens)
    layer.build((None, tokens, dim))
    layer.steps.assign(layer.hold_steps + layer.cooling_steps)
    return layer


def test_a_cold_layer_can_be_the_mixing_without_weights():
    tokens = np.random.default_rng(0).normal(size=(5, 4, 12)).astype("float32")
    layer = cold(4, 12)
    permutation = np.zeros((16, 16))
    for t in range(4):
        for h in range(4):
            permutation[4 * h + t, 4 * t + h] = 1
    layer.within.assign(np.repeat(5 * np.eye(3)[None], 16, 0))
    layer.across.assign(5 * permutation)
    np.testing.assert_allclose(layer(tokens), mixing.mix(tokens), atol=1e-6)


def test_half_the_weight_starts_on_the_diagonal_and_on_the_mixing():
    layer = SinkhornMixing(4)
    layer.build((None, 4, 16))
    within, across = layer.matrices()
    np.testing.assert_allclose(np.diagonal(within, axis1=1, axis2=2), 0.5, atol=0.05)
    # The part `h` of token `t` becomes part `t` of token `h`.
    np.testing.assert_allclose(across[4 * 1 + 2, 4 * 2 + 1], 0.5, atol=0.05)
    lite = SinkhornMixing(4, lite=True)
    lite.build((None, 4, 16))
    np.testing.assert_allclose(lite.matrices()[1], 1 / 16, atol=1e-3)


def test_steps_of_training_cool_the_layer_and_are_saved_with_it():
    layer = SinkhornMixing(4, last_tau=0.2, hold_steps=2, cooling_steps=4)
    found = []
    for _ in range(8):
        layer(TOKENS, training=True), layer(TOKENS)
        found.append(float(layer.temperature()))
    np.testing.assert_allclose(found, [1, 1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2], atol=1e-6)
    again = SinkhornMixing.from_config(layer.get_config())
    again.build(TOKENS.shape)
    again.set_weights(layer.get_weights())
    assert float(again.temperature()) == pytest.approx(0.2)
    layer.trainable = False
    layer.steps.assign(0)
    layer(TOKENS, training=True)
    assert float(layer.steps) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("block_dim", 1), ("rank", 0), ("last_tau", 1.5), ("hold_steps", -1), ("cooling_steps", 0)],
)
def test_wrong_arguments_are_errors_that_show_them(name, value):
    with pytest.raises(ValueError, match=f"must be 2 or more.*{name}={value}"):
        SinkhornMixing(**{"block_dim": 4, name: value})


@pytest.mark.parametrize(("shape", "block"), [((3, 5), 4), ((2, 4), 8), ((None, 8), 4)])
def test_tokens_that_are_no_blocks_are_an_error(shape, block):
    with pytest.raises(ValueError, match=f"{shape[0]} tokens of width {shape[1]}; .*{block}"):
        SinkhornMixing(block)(keras.Input(shape))
