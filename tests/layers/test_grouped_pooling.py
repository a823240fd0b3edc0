import numpy as np
import pytest

from keras_infnet.layers import GroupedPooling
from tests import tiny

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 7, 3)).astype("float32")
# Two overlapping groups of the first history, one of the second; row 0 is empty.
GROUPS = [RNG.integers(0, 2, (4, 2, 5)), RNG.integers(0, 2, (4, 1, 2))]
GROUPS = [(g * (np.arange(4) > 0)[:, None, None]).astype("float32") for g in GROUPS]


def members():
    """For each example and group, the tokens that belong to it."""
    parts = [(TOKENS[:, :5], GROUPS[0][:, 0]), (TOKENS[:, :5], GROUPS[0][:, 1])]
    parts.append((TOKENS[:, 5:], GROUPS[1][:, 0]))
    return [[t[b][g[b] == 1] for t, g in parts] for b in range(4)]


def expected(of_group):
    return np.array([[of_group(f, s) for f, s in enumerate(row)] for row in members()])


def test_mean_and_log_count():
    layer = tiny.randomise_after(GroupedPooling(dim=4), TOKENS, GROUPS)
    w, b, c = layer.get_weights()

    def proxy(f, s):
        return s.sum(0) / max(len(s), 1) @ w[f] + b[f] + np.log(1 + len(s)) / 2 * c[f]

    np.testing.assert_allclose(layer(TOKENS, GROUPS), expected(proxy), atol=1e-5)


def test_sum_of_a_shared_projection():
    layer = tiny.randomise_after(GroupedPooling(dim=4, pooling="sum"), TOKENS, GROUPS)
    w, b = layer.get_weights()
    proxies = expected(lambda f, s: (s @ w + b).sum(0))
    np.testing.assert_allclose(layer(TOKENS, GROUPS), proxies, atol=1e-5)


def test_mean_of_an_mlp_of_each_group_and_zero_if_it_is_empty():
    layer = tiny.randomise_after(GroupedPooling(dim=4, pooling="mean"), TOKENS, GROUPS)
    w2, b2, w1, b1 = layer.get_weights()

    def proxy(f, s):
        return np.maximum(s @ w1[f] + b1[f], 0).mean(0) @ w2[f] + b2[f] if len(s) else np.zeros(4)

    np.testing.assert_allclose(layer(TOKENS, GROUPS), expected(proxy), atol=1e-5)


def test_an_unknown_pooling_is_an_error():
    with pytest.raises(ValueError, match="pooling='max'"):
        GroupedPooling(dim=4, pooling="max")


def test_groups_that_do_not_cover_the_tokens_are_an_error():
    with pytest.raises(ValueError, match="cover \\[5\\] positions; expected 7"):
        GroupedPooling(dim=4)(TOKENS, GROUPS[:1])
