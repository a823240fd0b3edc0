import numpy as np
import pytest

from keras_infnet.layers import LocalActivationUnit
from tests import tiny
from tests.reference import sequences
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 8)).astype("float32")
CANDIDATE = RNG.normal(size=(4, 8)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]


def reference_weights(layer):
    w = Weights.of(layer) / layer.name
    return [
        sequences.activation_weights(w, events[there].astype("float64"), cand.astype("float64"))
        for events, there, cand in zip(TOKENS, MASK, CANDIDATE, strict=True)
    ]


@pytest.mark.parametrize("normalize", [False, True])
def test_output_equals_a_loop_over_events(normalize):
    layer = LocalActivationUnit(hidden_dims=(7, 5), normalize=normalize)
    layer = tiny.randomise_after(layer, TOKENS, CANDIDATE)
    w = Weights.of(layer) / layer.name
    outputs = layer(TOKENS, CANDIDATE, tokens_mask=MASK)
    for b, output in enumerate(np.array(outputs)):
        expected = sequences.activation_pooling(w, TOKENS[b][MASK[b]], CANDIDATE[b], normalize)
        np.testing.assert_allclose(output, expected, atol=2e-5)


def test_weights_can_be_read_and_are_not_normalised():
    layer = tiny.randomise_after(LocalActivationUnit(hidden_dims=(7, 5)), TOKENS, CANDIDATE)
    weights = np.array(layer.attention_weights(TOKENS, CANDIDATE, MASK))
    assert not weights[~MASK].any()
    for b, expected in enumerate(reference_weights(layer)):
        np.testing.assert_allclose(weights[b][MASK[b]], expected, atol=1e-5)
    assert abs(weights[1].sum() - 1) > 0.1


def test_a_softmax_sums_to_one_where_there_are_events():
    layer = LocalActivationUnit(hidden_dims=(7, 5), normalize=True)
    tiny.randomise_after(layer, TOKENS, CANDIDATE)
    weights = layer.attention_weights(TOKENS, CANDIDATE, MASK)
    np.testing.assert_allclose(np.sum(weights, 1), [0, 1, 1, 1], atol=1e-6)


def test_no_hidden_layer_is_an_error():
    with pytest.raises(ValueError, match="one width or more.*hidden_dims=\\(\\)"):
        LocalActivationUnit(hidden_dims=())


def test_a_candidate_of_another_width_is_an_error():
    with pytest.raises(ValueError, match="candidate of width 5; expected 8"):
        LocalActivationUnit()(TOKENS, CANDIDATE[:, :5])
