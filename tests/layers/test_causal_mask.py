import itertools

import keras
import numpy as np
import pytest

from keras_infnet.layers import CausalMask


def reads(queries, keys, window=None, group=1, valid=None):
    """Place by place, counted from the newest."""
    mask = np.zeros((1 if valid is None else len(valid), queries, keys), bool)
    for b, i, j in np.ndindex(*mask.shape):
        place, of_key = (queries - 1 - i) // group, keys - 1 - j
        mask[b, i, j] = place <= of_key and (window is None or of_key - place < window)
        mask[b, i, j] &= valid is None or valid[b, j]
    return mask


@pytest.mark.parametrize(
    ("queries", "keys", "arguments"),
    [
        (5, 5, {}),
        (2, 5, {}),
        (5, 5, {"window": 3}),
        (3, 6, {"window": 2}),
        (7, 3, {"group": 3}),
        (1, 1, {"window": 1}),
    ],
)
def test_a_token_reads_itself_and_older_ones(queries, keys, arguments):
    valid = np.arange(keys)[None] >= np.array([[0], [2], [keys]])
    tokens, of_keys = np.zeros((3, queries, 4), "float32"), np.zeros((3, keys, 4), "float32")
    layer = CausalMask(**arguments)
    for mask in (None, valid):
        expected = reads(queries, keys, valid=mask, **arguments)
        np.testing.assert_array_equal(layer(tokens, of_keys, keys_mask=mask), expected)


def test_a_window_has_a_lower_bound():
    tokens = np.zeros((1, 6, 1), "float32")
    mask = np.asarray(CausalMask(window=2)(tokens, tokens))[0]
    for i, j in itertools.product(range(6), range(6)):
        assert mask[i, j] == (j in (i, i - 1))


def test_lengths_may_be_known_when_a_graph_runs():
    x, there = keras.Input((None, 4)), keras.Input((None,), dtype="bool")
    model = keras.Model([x, there], CausalMask(window=2)(x, x, keys_mask=there))
    valid = np.arange(4)[None] >= np.array([[0], [3]])
    found = model.predict_on_batch([np.zeros((2, 4, 4), "float32"), valid])
    np.testing.assert_array_equal(found, reads(4, 4, window=2, valid=valid))


@pytest.mark.parametrize("arguments", [{"window": 0}, {"group": 0}, {"window": 2, "group": 2}])
def test_sizes_below_1_and_windows_over_groups_are_errors(arguments):
    with pytest.raises(ValueError, match="1 or more, and groups have no window"):
        CausalMask(**arguments)
