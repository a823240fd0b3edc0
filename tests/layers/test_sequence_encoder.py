import numpy as np
import pytest

from keras_infnet.layers import SequenceEncoder
from tests import tiny
from tests.reference.textbook import Weights, dense, layer_norm, relu

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 8)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]


def expected(layer):
    """Event by event and head by head."""
    w, x = Weights.of(layer), TOKENS.astype("float64")
    w.prefix = f"{layer.name}/"
    for i in range(layer.num_layers):
        q, k, v = np.split(dense(layer_norm(x, w / f"attention_norm_{i}"), w / f"qkv_{i}"), 3, -1)
        attended = np.zeros(x.shape)
        for b, t, h in np.ndindex(4, 6, 2):
            seen = [j for j in range(t + 1) if MASK[b, j]]
            if seen:
                part = slice(h * 4, h * 4 + 4)
                distances = np.minimum(t - np.array(seen), layer.max_distance - 1)
                scores = k[b, seen, part] @ q[b, t, part] / 2 + w[f"distances_{i}"][distances, h]
                weights = np.exp(scores) / np.exp(scores).sum()
                attended[b, t, part] = weights @ v[b, seen, part]
        x = x + dense(attended, w / f"output_{i}")
        hidden = relu(dense(layer_norm(x, w / f"norm_{i}"), w / f"hidden_{i}"))
        x = x + dense(hidden, w / f"feed_forward_{i}")
    return x * MASK[:, :, None]


def test_output_equals_a_loop_over_events():
    layer = SequenceEncoder(num_layers=2, num_heads=2, max_distance=3)
    layer = tiny.randomise_after(layer, TOKENS)
    np.testing.assert_allclose(layer(TOKENS, tokens_mask=MASK), expected(layer), atol=2e-5)


def test_later_events_change_nothing():
    layer = tiny.randomise_after(SequenceEncoder(num_heads=2), TOKENS)
    later = TOKENS.copy()
    later[:, 4:] = 9
    np.testing.assert_allclose(layer(later)[:, :4], layer(TOKENS)[:, :4], atol=1e-6)


def test_padding_on_the_left_changes_nothing():
    layer = tiny.randomise_after(SequenceEncoder(num_heads=2), TOKENS)
    longer = np.pad(TOKENS, ((0, 0), (3, 0), (0, 0)), constant_values=5)
    mask = np.pad(MASK, ((0, 0), (3, 0)))
    expected = layer(TOKENS, tokens_mask=MASK)
    np.testing.assert_allclose(layer(longer, tokens_mask=mask)[:, 3:], expected, atol=1e-5)


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the token width 8"):
        SequenceEncoder(num_heads=3)(TOKENS)


def test_dropout_of_one_is_an_error():
    with pytest.raises(ValueError, match="dropout=1.0"):
        SequenceEncoder(dropout=1.0)
