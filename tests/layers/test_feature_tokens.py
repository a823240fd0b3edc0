import numpy as np
import pytest

from keras_infnet.layers import FeatureTokens
from tests import tiny
from tests.reference import mixing
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)


def features(*widths):
    return [RNG.normal(size=(5, width)).astype("float32") for width in widths]


def check(layer, given, read):
    tiny.randomise_after(layer, given)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    expected = mixing.feature_tokens(weights, read)
    assert expected.shape == (5, layer.num_tokens, layer.dim)
    np.testing.assert_allclose(layer(given), expected, atol=1e-5)


def test_auto_reads_all_features():
    given = features(4, 7)
    check(FeatureTokens(3, 6), given, [np.concatenate(given, 1)] * 3)
    check(FeatureTokens(3, 6), given[0], [given[0]] * 3)


@pytest.mark.parametrize(
    ("number", "groups"),
    [
        (2, [[0, 1], [2, 3, 4]]),
        (3, [[0], [1, 2], [3, 4]]),
        (5, [[0], [1], [2], [3], [4]]),
        (8, [[0], [0], [1], [1], [2], [3], [3], [4]]),
    ],
)
def test_groups_are_neighbours_cut_evenly(number, groups):
    given = features(4, 7, 3, 2, 5)
    read = [np.concatenate([given[i] for i in group], 1) for group in groups]
    check(FeatureTokens(number, 6, "group"), given, read)


def test_chunks_are_equal_pieces_wherever_the_cuts_fall():
    given = features(4, 6)
    flat = np.concatenate([*given, np.zeros((5, 2))], 1)
    check(FeatureTokens(3, 6, "chunk"), given, [flat[:, :4], flat[:, 4:8], flat[:, 8:]])


def test_a_user_without_anything_is_a_token_all_the_same():
    nothing = [np.zeros((1, 4), "float32")]
    assert np.abs(FeatureTokens(2, 6, "group")(nothing)).min(-1).max() > 0
    assert np.abs(np.std(FeatureTokens(2, 6)(nothing), -1)).min() > 1e-2


def test_a_piece_of_padding_alone_is_an_error():
    with pytest.raises(ValueError, match="8 pieces of 2 leave a token none of the 9.*num_tokens=5"):
        FeatureTokens(8, 4, "chunk")(np.zeros((1, 9), "float32"))


def test_an_unknown_mode_and_a_size_of_zero_are_errors():
    with pytest.raises(ValueError, match='"auto", "group" or "chunk".*mode=\'semantic\''):
        FeatureTokens(2, 4, "semantic")
    with pytest.raises(ValueError, match="must be 1 or more.*num_tokens=0"):
        FeatureTokens(0, 4)
