import keras
import numpy as np
import pytest

from keras_infnet.layers import AdaptiveEmbedding
from tests.gradients import gradients

PARTS = {"user_id": [(4, 3), (2, 4), (1, 2)], "video_id": [(2, 5)], "tab": [(4, 2), (1, 6)]}
SIZES = {"user_id": 9, "video_id": 5, "tab": 8}


def built(dim=4, **kwargs):
    layer = AdaptiveEmbedding(PARTS, dim, **kwargs)
    layer.build((None, 3))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape).astype("float32") for w in layer.weights])
    return layer


def row_by_hand(layer, table, one, parts=PARTS):
    """The vector of one id: its part, its row there, the matrix of the width."""
    weights = {w.path.split("adaptive_embedding")[-1]: np.array(w) for w in layer.weights}
    starts = np.cumsum([0, *(ids for _, ids in parts[table])])
    part = np.searchsorted(starts, one, "right") - 1
    width, start, above = parts[table][part][0], starts[part], 0
    for other, its in parts.items():
        if other == table:
            break
        # Each part has a row more, for the ids of others.
        above += sum(ids + 1 for its_width, ids in its if its_width == width)
    (rows,) = [w for path, w in weights.items() if f"fused_embedding_{width}/embeddings" in path]
    row = rows[above + one - start]
    matrices = [w for path, w in weights.items() if path.endswith(f"projection_{width}")]
    return row @ matrices[0] if matrices else row


@pytest.mark.parametrize("dim", [4, 6])
def test_each_id_is_the_row_of_its_part_times_the_matrix_of_its_width(dim):
    layer = built(dim)
    rng = np.random.default_rng(1)
    for tables in (list(PARTS), ["tab", "user_id", "tab", "tab"]):
        ids = np.stack([rng.integers(0, SIZES[t], (40, 2)) for t in tables], -1)
        found = np.array(layer(ids.astype("int32"), tables=tables))
        assert found.shape == (40, 2, len(tables), dim)
        for place in np.ndindex(ids.shape):
            expected = row_by_hand(layer, tables[place[-1]], ids[place])
            np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-6)
    whole = np.array(layer(ids, tables=("tab", "user_id"), whole=True))
    expected = [row_by_hand(layer, t, i) for t in ("tab", "user_id") for i in range(SIZES[t])]
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_reaches_the_rows_of_the_ids_alone():
    inputs = keras.Input((1,), dtype="int32")
    layer = built()
    model = keras.Model(inputs, layer(inputs, tables=("user_id",)))
    ids = np.array([[1], [4], [4]], "int32")
    found = gradients(model, ids, keras.ops.sum)
    matrix = next(np.array(w) for w in layer.weights if w.path.endswith("projection_2"))
    of_width = {path.split("/")[-2]: g for path, g in found.items() if "fused" in path}
    touched = {name: np.flatnonzero(np.any(g, axis=1)).tolist() for name, g in of_width.items()}
    # Id 4 is the second of the part of width 2.
    assert touched == {
        "fused_embedding_4": [1],
        "fused_embedding_2": [1],
        "fused_embedding_1": [],
    }
    expected = 2 * matrix.sum(axis=1)
    np.testing.assert_allclose(of_width["fused_embedding_2"][1], expected, rtol=1e-5)


def test_vectors_start_as_wide_as_rows_at_every_width():
    keras.utils.set_random_seed(0)
    layer = AdaptiveEmbedding({"a": [(32, 2000), (16, 2000), (4, 2000)]}, dim=32)
    vectors = np.array(layer(np.arange(6000)[:, None]))[:, 0].reshape(3, 2000, 32)
    np.testing.assert_allclose(vectors.std(axis=(1, 2)), 0.01, rtol=0.3)


def test_rows_stay_float32_under_mixed_precision():
    layer = AdaptiveEmbedding({"a": [(2, 3), (1, 3)]}, dim=2, dtype="mixed_bfloat16")
    rows = layer(np.array([[1], [4]]))
    assert keras.backend.standardize_dtype(rows.dtype) == "bfloat16"
    assert {w.dtype for w in layer.weights} == {"float32"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "must have a table"),
        ({"a": []}, "1 or more, each width once. Received: \\[\\] of table `a`"),
        ({"a": [(4, 0)]}, "1 or more, each width once. Received: \\[\\[4, 0\\]\\] of table `a`"),
        ({"a": [(2, 3), (2, 3)]}, "each width once"),
        ({"a": [(8, 3)]}, "at most `dim` wide. Received: \\[\\[8, 3\\]\\] of table `a`, dim=4"),
    ],
)
def test_parts_that_can_not_be_are_errors(parts, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveEmbedding(parts, dim=4)


def test_unknown_tables_and_other_numbers_of_columns_are_errors():
    layer = built()
    with pytest.raises(ValueError, match="no table \\['author_id'\\]; expected names of"):
        layer(np.array([[1]]), tables=("author_id",))
    with pytest.raises(ValueError, match="`ids` has 2 columns; expected 3"):
        layer(np.array([[1, 2]]))
