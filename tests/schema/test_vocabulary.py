import pyarrow as pa
import pytest

from keras_infnet.data import Vocabulary


def test_ids_go_by_frequency_then_value_after_padding_and_unknown():
    column = pa.array(["b", "a", "c", "b", "", "c", "d"])
    vocabulary = Vocabulary.learn([column], "string")
    assert vocabulary.values.to_pylist() == ["b", "c", "a", "d"]
    assert vocabulary.numpy(["b", "c", "a", "d", "x", ""]).tolist() == [2, 3, 4, 5, 1, 0]
    assert vocabulary.num_ids == 6


def test_rare_values_are_out_of_vocabulary():
    vocabulary = Vocabulary.learn([pa.array([7, 7, 8, -1, -1, -1])], "int", min_frequency=2)
    assert vocabulary.values.to_pylist() == [7]
    assert vocabulary.numpy([7, 8, -1]).tolist() == [2, 1, 0]


def test_several_unknown_buckets_spread_unknown_values_and_keep_known_ids():
    vocabulary = Vocabulary([5, 6], oov_buckets=4, dtype="int")
    ids = vocabulary.numpy(list(range(100, 200)))
    assert set(ids.tolist()) == {1, 2, 3, 4}
    assert vocabulary.numpy([5, 6, -1]).tolist() == [5, 6, 0]


def test_without_unknown_buckets_an_unknown_value_is_an_error_that_shows_it():
    vocabulary = Vocabulary(["a"], oov_buckets=0)
    assert vocabulary.numpy(["a", ""]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="`tab`: 2 values .*x, y.*oov_buckets=1"):
        vocabulary.numpy(["x", "a", "y", "x"], "Feature `tab`")


def test_a_value_twice_is_an_error():
    with pytest.raises(ValueError, match="1 values occur more than once"):
        Vocabulary(["a", "a"])


def test_shapes_are_kept():
    assert Vocabulary([3], dtype="int").numpy([[3, -1], [4, 3]]).tolist() == [[2, 0], [1, 2]]
