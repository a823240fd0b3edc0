import itertools

import numpy as np

from keras_infnet.layers import BiInteraction

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 3)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]


def all_pairs(tokens):
    """The sum over pairs of tokens, one pair after the other."""
    pairs = itertools.combinations(range(len(tokens)), 2)
    return sum((tokens[i] * tokens[j] for i, j in pairs), np.zeros(tokens.shape[-1]))


def test_output_is_the_sum_over_all_pairs():
    expected = [all_pairs(row.astype("float64")) for row in TOKENS]
    np.testing.assert_allclose(BiInteraction()(TOKENS), expected, atol=1e-5)


def test_padded_tokens_interact_with_nothing():
    expected = [all_pairs(row[m].astype("float64")) for row, m in zip(TOKENS, MASK, strict=True)]
    output = np.array(BiInteraction()(TOKENS, tokens_mask=MASK))
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_array_equal(output[0], 0)


def test_half_precision_does_not_lose_the_difference_of_large_sums():
    tokens = np.zeros((1, 40, 1), "float32")
    tokens[0, 0], tokens[0, 1] = 64.0, 0.125
    output = BiInteraction(dtype="mixed_bfloat16")(tokens)
    np.testing.assert_allclose(np.array(output, "float32"), [[8.0]], atol=1e-6)
