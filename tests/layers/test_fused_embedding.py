import keras
import numpy as np
import pytest

from keras_infnet.layers import FusedEmbedding
from tests.gradients import gradients


def built():
    layer = FusedEmbedding({"user_id": 3, "video_id": 4}, dim=2)
    layer.build((None, 2))
    layer.set_weights([np.arange(14, dtype="float32").reshape(7, 2)])
    return layer


def test_each_column_reads_its_own_table():
    rows = built()(np.array([[2, 0], [0, 3]]))
    np.testing.assert_array_equal(rows, [[[4, 5], [6, 7]], [[0, 1], [12, 13]]])


def test_columns_may_share_a_table_and_have_any_rank():
    ids = np.array([[[1, 2, 0]]])
    rows = built()(ids, tables=("video_id", "user_id", "video_id"))
    np.testing.assert_array_equal(rows, [[[[8, 9], [4, 5], [6, 7]]]])


def test_duplicate_ids_are_summed_before_an_optimizer_sees_the_gradient():
    inputs = keras.Input((2,), dtype="int32")
    layer = FusedEmbedding({"user_id": 3, "video_id": 4}, dim=2)
    model = keras.Model(inputs, layer(inputs, tables=("video_id", "video_id")))
    ids = np.array([[1, 1], [1, 0]], "int32")
    (gradient,) = gradients(model, ids, keras.ops.sum).values()
    expected = np.zeros((7, 2))
    expected[4], expected[3] = 3, 1
    np.testing.assert_array_equal(gradient, expected)


def test_adagrad_sees_the_dense_maths():
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, FusedEmbedding({"a": 3}, dim=1)(inputs, tables=("a", "a")))
    optimizer = keras.optimizers.Adagrad(1.0, initial_accumulator_value=0.1, epsilon=1e-12)
    model.compile(optimizer, loss=lambda y, p: keras.ops.sum(p))
    before = model.get_weights()[0]
    model.train_on_batch(np.array([[1, 1]], "int32"), np.zeros((1, 2, 1)))
    moved = before - model.get_weights()[0]
    np.testing.assert_allclose(moved, [[0], [2 / np.sqrt(0.1 + 4)], [0]], rtol=1e-5)


def test_the_table_stays_float32_under_mixed_precision():
    layer = FusedEmbedding({"a": 3}, dim=2, dtype="mixed_bfloat16")
    rows = layer(np.array([[1]]))
    assert keras.backend.standardize_dtype(rows.dtype) == "bfloat16"
    assert layer.embeddings.dtype == "float32"


def test_an_unknown_table_is_an_error():
    with pytest.raises(ValueError, match="no table \\['author_id'\\]; expected names of"):
        built()(np.array([[1]]), tables=("author_id",))


def test_another_number_of_columns_is_an_error():
    with pytest.raises(ValueError, match="`ids` has 3 columns; expected 2"):
        built()(np.array([[1, 2, 3]]))


def test_an_empty_table_is_an_error():
    with pytest.raises(ValueError, match="1 or more.*'a': 0"):
        FusedEmbedding({"a": 0}, dim=2)


@pytest.mark.parametrize(
    ("rows", "made"), [(131_071, 131_071), (131_072, 131_072), (131_073, 131_136)]
)
def test_large_tables_have_a_multiple_of_64_rows(rows, made):
    layer = FusedEmbedding({"user_id": 71, "video_id": rows - 71}, dim=1)
    layer.build((None, 2))
    assert layer.embeddings.shape == (made, 1)
    values = np.array(layer.embeddings)
    found = layer(np.array([[70, rows - 72]]))
    np.testing.assert_array_equal(found, values[[[70, rows - 1]]])
