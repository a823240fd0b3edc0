import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet.models import FM, STEM, SharedBottom
from keras_infnet.optimizers import LazyAdamW, SparseAdagrad
from tests import tiny
from tests.logs import viewed_videos

DIM = 4


@pytest.fixture(scope="module")
def data():
    return viewed_videos()


def vectors(values):
    return {v: np.random.default_rng(v).normal(size=DIM) for v in values}


def rows_read(model, data, values):
    """What a model reads of videos: as a feature, and as events."""
    layer = next(x for x in model._flatten_layers() if x.name == "fused_embedding")
    ids = data.encoder.programs["video_id"].numpy(np.array(values))
    whole = layer(ids, tables=("video_id",), whole=True)
    looked_up = layer(ids[:, None], tables=("video_id",))
    found = np.array(looked_up)[:, 0]
    np.testing.assert_array_equal(found, np.array(whole)[ids])
    return found[:, :DIM]


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5, momentum=0.9),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "lazy": lambda: LazyAdamW(0.1, weight_decay=0.1, row_updates_from=0),
    "adagrad": lambda: SparseAdagrad(0.1, weight_decay=0.1, row_updates_from=0),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_frozen_rows_stay_and_others_are_trained(data, tmp_path, optimizer):
    model, given = SharedBottom(data.schema, dim=DIM, hidden_dims=(8,)), vectors(range(1, 20))
    model.compile(optimizer(), **tiny.quick())
    # The optimizer has moments of these rows before they are frozen.
    model.fit(data.train, shuffle=False, verbose=0)
    assert model.set_embeddings("video_id", given, data) == 19
    others = list(range(20, 30))
    before = rows_read(model, data, others)
    model.fit(data.train, epochs=2, shuffle=False, verbose=0)
    expected = np.array(list(given.values()), "float32")
    np.testing.assert_array_equal(rows_read(model, data, list(given)), expected)
    assert (rows_read(model, data, others) != before).any(axis=1).all()
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)
    x = data.encoder.transform(data.attach("train"))
    np.testing.assert_allclose(
        tiny.predict(loaded, x)["click"], tiny.predict(model, x)["click"], rtol=1e-6
    )
    loaded.fit(data.train, shuffle=False, verbose=0)
    np.testing.assert_array_equal(rows_read(loaded, data, list(given)), expected)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(FM, {"members": 2}), (FM, {"members": 2, "own_tables": True}), (STEM, {})],
)
def test_members_and_tables_of_tasks(data, kind, arguments):
    model, given = kind(data.schema, dim=DIM, **arguments), vectors([3, 5, 7])
    model.set_embeddings("video_id", pd.Series(given), data)
    model.compile(keras.optimizers.SGD(0.5), **tiny.quick())
    model.fit(data.train, shuffle=False, verbose=0)
    expected = np.array(list(given.values()), "float32")
    tables = [x for x in model._flatten_layers() if x.name == "fused_embedding"]
    assert len(tables) == (2 if arguments.get("own_tables") else 1)
    np.testing.assert_array_equal(rows_read(model, data, [3, 5, 7]), expected)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(rows_read(clone, data, [3, 5, 7]), expected)


def test_rows_may_start_at_vectors_and_be_trained(data):
    model, given = FM(data.schema, dim=DIM), vectors([3, 5, 7])
    frame = pd.DataFrame.from_dict(given, orient="index")
    model.set_embeddings("video_id", frame, data.encoder)
    model.set_embeddings("video_id", frame, data.encoder, trainable=True)
    expected = np.array(list(given.values()), "float32")
    np.testing.assert_array_equal(rows_read(model, data, [3, 5, 7]), expected)
    model.compile(keras.optimizers.SGD(0.5), **tiny.quick())
    model.fit(data.train, shuffle=False, verbose=0)
    assert (rows_read(model, data, [3, 5, 7]) != expected).any(axis=1).all()


def test_unknown_values_are_counted(data):
    model = FM(data.schema, dim=DIM)
    with pytest.warns(UserWarning, match="2 of 3 values are not in the vocabulary"):
        assert model.set_embeddings("video_id", vectors([3, 500, 501]), data) == 1


@pytest.mark.parametrize(
    ("feature", "given", "message"),
    [
        ("video_id", {3: [1.0, 2.0]}, "have 2 numbers, and the model's tokens dim=4"),
        ("video_id", {3: [1.0], 4: [1.0, 2.0]}, "one width for all"),
        ("video_id", {3: [np.nan] * 4}, "1 vectors are not finite"),
        ("video_id", {900: [1.0] * 4}, "none of 1 values, such as 900, is in the vocabulary"),
        ("video_id", [[1.0] * 4], "found list; expected a dict"),
        ("video", {3: [1.0] * 4}, "no feature `video`.*`video_id`"),
        ("video_id", pd.Series([np.ones(4)] * 2, [3, 3]), "1 values come more than once"),
    ],
)
def test_what_can_not_be_rows_is_an_error(data, feature, given, message):
    with pytest.raises(ValueError, match=message):
        FM(data.schema, dim=DIM).set_embeddings(feature, given, data)


def test_data_of_another_model_are_refused(data):
    model = FM(data.schema.with_sizes({"user_id": 5, "video_id": 9}), dim=DIM)
    with pytest.raises(ValueError, match="of another schema than the encoder"):
        model.set_embeddings("video_id", vectors([3]), data)
    with pytest.raises(ValueError, match="data is a dict; expected the RankingData"):
        model.set_embeddings("video_id", vectors([3]), {})
