import numpy as np
import pytest

from keras_infnet.layers import NextEventLoss
from tests.reference.sequences import next_event_loss

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(6, 5, 4)).astype("float32")
TOKENS = RNG.normal(size=(6, 5, 4)).astype("float32")
MASK = np.arange(5)[None] >= np.array([5, 0, 3, 4, 1, 0])[:, None]


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "padded"])
def test_loss_equals_a_loop_over_pairs(mask, shift):
    layer = NextEventLoss(weight=0.5, shift=shift)
    states = layer(STATES, TOKENS, tokens_mask=mask, training=True)
    np.testing.assert_array_equal(states, STATES)
    there = np.ones((6, 5), bool) if mask is None else mask
    expected = 0.5 * next_event_loss(STATES.astype("float64"), TOKENS, there, shift)
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)


def test_there_is_no_loss_outside_training():
    layer = NextEventLoss(weight=1.0)
    layer(STATES, TOKENS, training=False)
    assert layer.losses == []


def test_a_batch_without_a_pair_has_no_loss():
    layer = NextEventLoss(weight=1.0)
    layer(STATES, TOKENS, tokens_mask=np.zeros((6, 5), bool), training=True)
    assert float(layer.losses[0]) == 0


@pytest.mark.parametrize("arguments", [{"weight": 0}, {"weight": 1, "shift": 0}])
def test_arguments_out_of_range_are_errors(arguments):
    with pytest.raises(ValueError, match="`weight` must be above 0, and `shift` 1 or more"):
        NextEventLoss(**arguments)


def test_states_of_another_width_are_an_error():
    with pytest.raises(ValueError, match="states of shape .6, 5, 3.; expected.*6, 5, 4"):
        NextEventLoss(weight=1.0)(STATES[:, :, :3], TOKENS)
