import keras
import numpy as np
import pytest

from keras_infnet.layers import AUGRU
from tests import tiny
from tests.gradients import gradients
from tests.reference import sequences
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 5)).astype("float32")
ATTENTION = RNG.uniform(size=(4, 6)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]


def cell_of(layer):
    return Weights.of(layer) / f"{layer.name}/recurrence/cell"


@pytest.mark.parametrize("attention", [None, ATTENTION], ids=["gru", "augru"])
def test_states_equal_a_loop_over_events(attention):
    layer = tiny.randomise_after(AUGRU(3, return_sequences=True), TOKENS)
    states = np.array(layer(TOKENS, attention, tokens_mask=MASK))
    for b, there in enumerate(MASK):
        of_row = None if attention is None else attention[b][there]
        expected = sequences.augru(cell_of(layer), TOKENS[b][there], of_row)
        np.testing.assert_allclose(states[b][there], expected, atol=1e-5)
        assert not states[b][~there].any()


def test_without_attention_it_is_the_gru_of_keras():
    layer = tiny.randomise_after(AUGRU(3), TOKENS)
    gru = keras.layers.GRU(3, reset_after=True)
    gru.build(TOKENS.shape)
    kernel, recurrent, bias = layer.get_weights()
    # Their update gate is what is kept of the old state: 1 - u.
    sign = np.array([-1] * 3 + [1] * 6)
    gru.set_weights([kernel * sign, recurrent * sign, np.stack([bias * sign, 0 * bias])])
    np.testing.assert_allclose(layer(TOKENS), gru(TOKENS), atol=1e-5)


def test_the_last_state_is_that_of_the_newest_event():
    layer = tiny.randomise_after(AUGRU(3), TOKENS)
    every = AUGRU(3, return_sequences=True)
    every.build(TOKENS.shape)
    every.set_weights(layer.get_weights())
    last = layer(TOKENS, ATTENTION, tokens_mask=MASK)
    np.testing.assert_allclose(last, every(TOKENS, ATTENTION, tokens_mask=MASK)[:, -1], atol=1e-6)
    assert not np.any(last[0])


def test_gradients_equal_finite_differences_of_the_loop():
    tokens, attention = keras.Input((6, 5)), keras.Input((6,))
    layer = AUGRU(3, name="augru")
    model = tiny.randomise(keras.Model([tokens, attention], layer(tokens, attention)))
    slopes = RNG.normal(size=(4, 3))
    found = gradients(
        model, [TOKENS, ATTENTION], lambda h: keras.ops.sum(h * slopes.astype("float32"))
    )
    variables = Weights.of(model).variables

    def loss(values):
        w = Weights(values) / "augru/recurrence/cell"
        rows = zip(TOKENS, ATTENTION, slopes, strict=True)
        return sum(sequences.augru(w, x, a)[-1] @ slope for x, a, slope in rows)

    for path, gradient in found.items():
        direction = RNG.normal(size=gradient.shape)
        moved = [{**variables, path: variables[path] + s * direction} for s in (1e-5, -1e-5)]
        slope = (loss(moved[0]) - loss(moved[1])) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-3, atol=1e-4)


def test_a_state_without_width_is_an_error():
    with pytest.raises(ValueError, match="1 or more.*dim=0"):
        AUGRU(0)
