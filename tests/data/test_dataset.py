import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet.data import FeatureEncoder, Histories, make_dataset, predict_frame
from tests.logs import log_schema, make_log

FREEZE = 1_650_000_020_000


@pytest.fixture(scope="module")
def log():
    return make_log(rows=250)


@pytest.fixture(scope="module")
def encoder(log):
    return FeatureEncoder(log_schema()).fit(log)


@pytest.fixture(scope="module")
def histories(encoder, log):
    return Histories(encoder, log)


def collect(dataset):
    batches = [x if isinstance(x, dict) else x[0] for x in dataset.as_numpy_iterator()]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


@pytest.mark.parametrize("freeze_at", [None, FREEZE])
def test_pointers_give_what_list_columns_give(encoder, log, histories, freeze_at):
    found = collect(make_dataset(encoder, log, histories, batch_size=64, freeze_at=freeze_at))
    expected = encoder.transform(histories.attach(log, freeze_at))
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


def test_labels_and_weights_of_unobserved_tasks(encoder, log, histories):
    _, y, weight = next(make_dataset(encoder, log, histories, batch_size=250).as_numpy_iterator())
    np.testing.assert_array_equal(y["click"][:, 0], log.is_click)
    np.testing.assert_array_equal(weight["click"][:, 0], np.ones(250))
    np.testing.assert_array_equal(weight["like"][:, 0], log.is_click)
    np.testing.assert_array_equal(y["like"][:, 0], log.is_like * log.is_click)


def test_shuffling_is_seeded_differs_by_epoch_and_loses_no_row(encoder, log, histories):
    def epochs(seed):
        data = make_dataset(encoder, log, histories, batch_size=64, shuffle=True, seed=seed)
        assert data.cardinality().numpy() == 4
        return [collect(data)["dense"][:, 0] for _ in range(2)]

    first, second = epochs(seed=1)
    original = np.stack(log.image)[:, 0]
    assert sorted(first) == sorted(second) == sorted(original)
    assert not np.array_equal(first, second) and not np.array_equal(first, original)
    again = epochs(seed=1)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[1], second)
    assert not np.array_equal(epochs(seed=2)[0], first)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_training_may_go_on_from_any_batch_and_again(
    encoder, log, histories, shuffle, drop_remainder
):
    options = {"batch_size": 64, "shuffle": shuffle, "drop_remainder": drop_remainder}
    data = make_dataset(encoder, log, histories, seed=1, **options)
    number = int(data.cardinality())
    epochs = [collect(data)["dense"][:, 0] for _ in range(3)]
    rows = np.concatenate([epoch[64 * (i == 0) :] for i, epoch in enumerate(epochs)])
    later = data.starting_at(1).take(3 * number - 1)
    for _ in range(2):
        np.testing.assert_array_equal(collect(later)["dense"][:, 0], rows)
    third = data.starting_at(2 * number + 1).take(number - 1)
    np.testing.assert_array_equal(collect(third)["dense"][:, 0], epochs[2][64:])


def test_the_remainder_may_be_dropped(encoder, log, histories):
    data = make_dataset(encoder, log, histories, batch_size=64, drop_remainder=True)
    assert data.cardinality().numpy() == 3
    assert collect(data)["dense"].shape == (192, 3)


def test_rows_with_list_columns_need_no_histories(encoder, log, histories):
    data = make_dataset(encoder, histories.attach(log), batch_size=100)
    expected = collect(make_dataset(encoder, log, histories))
    np.testing.assert_array_equal(collect(data)["seen"], expected["seen"])


def test_parquet_shards_are_read_like_one_frame(encoder, log, histories, tmp_path):
    log.iloc[:100].to_parquet(tmp_path / "a.parquet")
    log.iloc[100:].to_parquet(tmp_path / "b.parquet")
    expected = collect(make_dataset(encoder, log, histories))
    for rows in (tmp_path, [tmp_path / "a.parquet", tmp_path / "b.parquet"]):
        found = collect(make_dataset(encoder, rows, histories))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    with pytest.raises(ValueError, match="no Parquet file or folder .*nowhere"):
        make_dataset(encoder, tmp_path / "nowhere", histories)


def test_an_empty_history_of_every_user_works(encoder, log):
    nothing = Histories(encoder, log.iloc[:1].assign(is_like=0))
    assert collect(make_dataset(encoder, log, nothing))["liked"].sum() == 0


@keras.saving.register_keras_serializable(package="tests")
class MeanId(keras.Model):
    """A model that answers with a row's first id, to see which row an answer belongs to."""

    def __init__(self, schema):
        super().__init__()
        self.schema = schema

    def call(self, x):
        first = keras.ops.cast(x["categorical"][:, :1], "float32")
        return {"click": first, "like": -first}


def test_predictions_come_back_joined_to_the_index(encoder, log, histories):
    frame = log.sample(frac=1, random_state=3)
    found = predict_frame(MeanId(encoder.schema), encoder, frame, histories, batch_size=32)
    pd.testing.assert_index_equal(found.index, frame.index)
    ids = encoder.transform(frame)["categorical"][:, 0]
    np.testing.assert_array_equal(found.click, ids)
    np.testing.assert_array_equal(found.like, -ids)


def test_what_does_not_belong_together_is_refused(encoder, log, histories):
    other = FeatureEncoder(log_schema()).fit(make_log(seed=8))
    with pytest.raises(ValueError, match="predict_frame: the model is of another schema"):
        predict_frame(MeanId(other.schema), encoder, log, histories)
    with pytest.raises(ValueError, match="no schema; expected"):
        predict_frame(keras.Sequential(), encoder, log, histories)
    with pytest.raises(ValueError, match="`histories` were encoded by another encoder"):
        make_dataset(other, log, histories)
    with pytest.raises(ValueError, match="has histories .seen, liked.*`histories` is None"):
        make_dataset(encoder, log)
    with pytest.raises(ValueError, match="`freeze_at` can't cut the histories seen, liked"):
        make_dataset(encoder, histories.attach(log), freeze_at=FREEZE)
    mixed = histories.attach(log).drop(columns=["liked_video_id", "liked_age_seconds"])
    with pytest.raises(ValueError, match="`freeze_at` can't cut the histories seen, which"):
        make_dataset(encoder, mixed, histories, freeze_at=FREEZE)
    for size in (0, True, 2.0):
        with pytest.raises(ValueError, match=f"batch_size is {size}"):
            make_dataset(encoder, log, histories, batch_size=size)
    with pytest.raises(ValueError, match="hold the histories seen, liked as list columns, and"):
        make_dataset(encoder, histories.attach(log), histories)
    with pytest.raises(ValueError, match="`histories` is a DataFrame; expected Histories.encoder"):
        make_dataset(encoder, log, log)
    with pytest.raises(ValueError, match="rows are a dict; expected a pandas DataFrame"):
        make_dataset(encoder, log.to_dict("list"), histories)
    with pytest.raises(ValueError, match="encoder = FeatureEncoder"):
        make_dataset(FeatureEncoder(log_schema()), log, histories)
    with pytest.raises(ValueError, match="the encoder is a MeanId; expected the model, then"):
        predict_frame(encoder, MeanId(encoder.schema), log, histories)
    with pytest.raises(ValueError, match="the frame is empty"):
        make_dataset(encoder, log.iloc[:0], histories)
