"""Lengths that TensorFlow learns when a compiled step runs; JAX knows them when it compiles."""

import numpy as np
import pytest
import tensorflow as tf

from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.models.event_groups import EventGroups
from keras_infnet.models.one_stream import MergedByAge
from keras_infnet.models.separate_histories import HistoryRows
from keras_infnet.models.tokens import EventPositions

pytestmark = pytest.mark.one_backend


def side_by_side(lengths):
    """Two histories of two examples side by side, what they are made of, and their groups."""
    tokens = np.arange(4 * sum(lengths), dtype="float32").reshape(2, -1, 2)
    histories = [np.ones((2, length, 5), "int32") for length in lengths]
    groups = [np.full((2, 1, length), i + 1.0, "float32") for i, length in enumerate(lengths)]
    return tokens, histories, groups


@pytest.mark.parametrize("lengths", [(2, 3), (4, 1)])
def test_histories_whose_lengths_are_unknown_until_a_compiled_step_runs(lengths):
    rows, positions = HistoryRows(), EventPositions((4, 3))

    def step(tokens, histories, groups):
        return rows(tokens, histories), positions(histories), over_all_histories(groups)

    given = side_by_side(lengths)
    signature = [
        tf.TensorSpec((None, None, 2)),
        [tf.TensorSpec((None, None, 5), "int32")] * 2,
        [tf.TensorSpec((None, 1, None))] * 2,
    ]
    found = tf.function(step, jit_compile=True, input_signature=signature)(*given)
    (first, second), longest = lengths, max(lengths)
    expected = np.zeros((2, 2, longest, 2))
    expected[:, 0, longest - first :] = given[0][:, :first]
    expected[:, 1, longest - second :] = given[0][:, first:]
    np.testing.assert_array_equal(found[0], expected.reshape(4, longest, 2))
    newest_last = [*range(first)[::-1], *(4 + i for i in range(second)[::-1])]
    np.testing.assert_array_equal(found[1], [newest_last])
    np.testing.assert_array_equal(
        found[2][0], [[1] * first + [0] * second, [0] * first + [2] * second]
    )


@pytest.mark.parametrize("lengths", [(2, 3), (4, 1)])
def test_a_merged_stream_and_its_groups_too(lengths):
    merge, groups = MergedByAge(), EventGroups(3)
    merge.build((None, None, 1), [(None, None)] * 2)
    merge.kinds.assign([[0], [0]])

    def step(tokens, ages, mask):
        merged, there = merge(tokens, ages, mask)
        return merged, groups(merged), groups(there)

    total = sum(lengths)
    ages = np.random.default_rng(0).permutation(np.arange(1, 2 * total + 1, dtype="int32"))
    ages = ages.reshape(2, total) % 20 + 1
    signature = [
        tf.TensorSpec((None, None, 1)),
        [tf.TensorSpec((None, None), "int32")] * 2,
        tf.TensorSpec((None, None), "bool"),
    ]
    compiled = tf.function(step, jit_compile=True, input_signature=signature)
    merged, of_merged, there = compiled(
        ages[..., None].astype("float32"), np.split(ages, lengths[:1], 1), np.ones((2, total), bool)
    )
    np.testing.assert_array_equal(merged[..., 0], -np.sort(-ages, 1))
    padded = np.pad(merged, ((0, 0), (-total % 3, 0), (0, 0)))
    np.testing.assert_array_equal(of_merged, padded.reshape(2, -1, 3, 1))
    np.testing.assert_array_equal(there, padded.reshape(2, -1, 3) > 0)
