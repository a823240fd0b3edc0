import numpy as np
import pytest

from keras_infnet.layers import GroupedAttentionPooling
from tests import tiny

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 7, 3)).astype("float32")
CONTEXT = RNG.normal(size=(4, 5)).astype("float32")
# Two overlapping groups of the first history, one of the second; row 0 is empty, and so is the
# first group of row 1. Position 0 is padding: in no group.
GROUPS = [RNG.integers(0, 2, (4, 2, 5)), np.ones((4, 1, 2), int)]
GROUPS[0][:, :, 0] = GROUPS[0][1, 0] = 0
GROUPS = [(g * (np.arange(4) > 0)[:, None, None]).astype("float32") for g in GROUPS]


def expected(layer, context):
    """Proxies and the weights of their events, one row, group and event after the other."""
    *kernel, bias = layer.get_weights()
    proxies, weights = np.zeros((4, 3, 3)), np.zeros((4, 3, 7))
    for b in range(4):
        for f in range(3):
            seed = bias[f] + (context[b] @ kernel[0][:, 3 * f : 3 * f + 3] if kernel else 0)
            group, start = (GROUPS[0][b, f], 0) if f < 2 else (GROUPS[1][b, 0], 5)
            events = [start + int(place) for place in np.flatnonzero(group)]
            scores = {at: np.exp(seed @ TOKENS[b, at] / np.sqrt(3)) for at in events}
            for at in events:
                weights[b, f, at] = scores[at] / sum(scores.values())
                proxies[b, f] += weights[b, f, at] * TOKENS[b, at]
    return proxies, weights


@pytest.mark.parametrize("context", [CONTEXT, None], ids=["context", "learned seeds"])
def test_events_of_a_group_weigh_by_what_its_seed_looks_for(context):
    given = (TOKENS, GROUPS) if context is None else (TOKENS, GROUPS, context)
    layer = tiny.randomise_after(GroupedAttentionPooling(), *given)
    proxies, weights = expected(layer, context)
    np.testing.assert_allclose(layer(*given), proxies, atol=1e-5)
    np.testing.assert_allclose(layer.attention_weights(*given), weights, atol=1e-5)
    assert not np.any(layer(*given)[0]) and not np.any(layer(*given)[1, 0])


def test_padding_has_no_weight_whatever_stands_there():
    layer = tiny.randomise_after(GroupedAttentionPooling(), TOKENS, GROUPS, CONTEXT)
    garbage = TOKENS.copy()
    garbage[:, 0] = garbage[0] = 1e3
    first, again = layer(TOKENS, GROUPS, CONTEXT), layer(garbage, GROUPS, CONTEXT)
    np.testing.assert_array_equal(np.array(again), np.array(first))


def test_one_history_may_stand_for_the_context_of_many_rows():
    layer = tiny.randomise_after(GroupedAttentionPooling(), TOKENS, GROUPS, CONTEXT)
    repeated = np.repeat(TOKENS[2:3], 4, 0), [np.repeat(g[2:3], 4, 0) for g in GROUPS]
    one = TOKENS[2:3], [g[2:3] for g in GROUPS]
    np.testing.assert_allclose(layer(*one, CONTEXT), layer(*repeated, CONTEXT), atol=1e-6)
