import numpy as np
import pytest

from keras_infnet.layers import BucketEmbedding
from tests import tiny

AGES = np.array([[0, 2, 1, 1, 0]], "int32")
ACTIONS = np.array([[1, 1, 0, 1, 0]], "int32")
POSITIONS = np.array([[2, 1, 0, 4, 3]], "int32")


def test_rows_of_all_quantities_and_the_position_are_summed():
    layer = BucketEmbedding({"age": 3, "action": 2, "position": 5}, dim=4)
    layer.build()
    age, action, position = tiny.randomise(layer).get_weights()
    expected = age[AGES] + action[ACTIONS] + position[POSITIONS]
    buckets = {"age": AGES, "action": ACTIONS, "position": POSITIONS}
    np.testing.assert_allclose(layer(buckets), expected, atol=1e-6)


def test_tables_start_with_values_of_their_own():
    layer = BucketEmbedding({"age": 3, "action": 3}, dim=4)
    layer.build()
    age, action = layer.get_weights()
    assert not np.any(age == action)


def test_positions_alone_need_no_batch():
    layer = BucketEmbedding({"position": 5}, dim=4)
    layer.build()
    (position,) = tiny.randomise(layer).get_weights()
    np.testing.assert_allclose(layer({"position": POSITIONS}), position[POSITIONS])


def test_a_missing_quantity_is_an_error():
    layer = BucketEmbedding({"age": 3, "action": 2}, dim=4)
    with pytest.raises(ValueError, match="`buckets` lacks \\['action'\\]"):
        layer({"age": AGES})


def test_nothing_to_embed_is_an_error():
    with pytest.raises(ValueError, match="must be there.*num_buckets={}"):
        BucketEmbedding({}, dim=4)
