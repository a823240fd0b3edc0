import numpy as np
import pytest

from keras_infnet.callbacks import Checkpoints
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.training.checkpoint_folder import CheckpointFolder
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
    found = collect(Batches.from_rows(encoder, log, histories, batch_size=64, freeze_at=freeze_at))
    expected = encoder.transform(histories.attach(log, freeze_at))
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


def test_labels_and_weights_of_unobserved_tasks(encoder, log, histories):
    _, y, weight = next(
        Batches.from_rows(encoder, log, histories, batch_size=250).as_numpy_iterator()
    )
    np.testing.assert_array_equal(y["click"][:, 0], log.is_click)
    np.testing.assert_array_equal(weight["click"][:, 0], np.ones(250))
    np.testing.assert_array_equal(weight["like"][:, 0], log.is_click)
    np.testing.assert_array_equal(y["like"][:, 0], log.is_like * log.is_click)


def test_shuffling_is_seeded_differs_by_epoch_and_loses_no_row(encoder, log, histories):
    def epochs(seed):
        data = Batches.from_rows(encoder, log, histories, batch_size=64, shuffle=True, seed=seed)
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
    data = Batches.from_rows(encoder, log, histories, seed=1, **options)
    number = int(data.cardinality())
    epochs = [collect(data)["dense"][:, 0] for _ in range(3)]
    rows = np.concatenate([epoch[64 * (i == 0) :] for i, epoch in enumerate(epochs)])
    later = data.starting_at(1).take(3 * number - 1)
    for _ in range(2):
        np.testing.assert_array_equal(collect(later)["dense"][:, 0], rows)
    third = data.starting_at(2 * number + 1).take(number - 1)
    np.testing.assert_array_equal(collect(third)["dense"][:, 0], epochs[2][64:])


def doubled(x, y, weight):
    return {**x, "dense": 2 * x["dense"]}, y, weight


CHANGES = {
    "map": lambda data: data.map(doubled),
    "take": lambda data: data.take(2),
    "skip": lambda data: data.skip(3),
    "prefetch": lambda data: data.prefetch(2),
    "all": lambda data: data.skip(1).map(doubled).take(2).prefetch(1),
}


@pytest.mark.parametrize(
    ("change", "shuffle"), [*((change, True) for change in CHANGES), ("all", False)]
)
def test_changed_batches_still_begin_anywhere(encoder, log, histories, change, shuffle):
    data = Batches.from_rows(encoder, log, histories, batch_size=64, shuffle=shuffle, seed=1)
    data = CHANGES[change](data)
    assert isinstance(data, Batches)
    number = int(data.cardinality())
    epochs = [collect(data)["dense"][:, 0] for _ in range(3)]
    for start in (1, 2 * number):
        rows = np.concatenate(epochs[start // number :])
        first = sum(len(x["dense"]) for x, *_ in data.take(start % number).as_numpy_iterator())
        later = data.starting_at(start).take(3 * number - start)
        np.testing.assert_array_equal(collect(later)["dense"][:, 0], rows[first:])


def test_checkpoints_go_on_with_changed_batches(encoder, log, histories, monkeypatch, tmp_path):
    monkeypatch.setattr(CheckpointFolder, "newest", lambda self: ("step-5", {"step": 5}))
    data = Batches.from_rows(encoder, log, histories, batch_size=64, shuffle=True, seed=1)
    changed = data.map(doubled).take(3)
    monkeypatch.setattr("tensorflow.data.Dataset.repeat", None)
    found = Checkpoints(tmp_path).batches(changed).take(1)
    epochs = [collect(changed)["dense"] for _ in range(2)]
    np.testing.assert_array_equal(collect(found)["dense"], epochs[1][128:])


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_rows_of_a_bucket_come_together_and_are_cut_to_it(encoder, log, histories, drop_remainder):
    options = {"batch_size": 20, "drop_remainder": drop_remainder}
    whole = collect(Batches.from_rows(encoder, log, histories))
    row_of = {row.tobytes(): i for i, row in enumerate(whole["dense"])}
    data = Batches.from_rows(
        encoder, log, histories, shuffle=True, seed=1, length_buckets=(2, 4), **options
    )
    found, lengths = [], []
    for x, *_ in data.as_numpy_iterator():
        index = [row_of[row.tobytes()] for row in x["dense"]]
        longest = max((whole[n][index, :, 0] > 0).sum(axis=1).max() for n in ("seen", "liked"))
        length = min(bucket for bucket in (2, 4, 5) if bucket >= longest)
        for name, most in (("seen", 5), ("liked", 3)):
            kept = min(length, most)
            np.testing.assert_array_equal(x[name], whole[name][index, -kept:])
            np.testing.assert_array_equal(x[f"{name}_age"], whole[f"{name}_age"][index, -kept:])
        found += index
        lengths.append(length)
    assert len(set(found)) == len(found) == (240 if drop_remainder else 250)
    assert len(set(lengths)) > 1 and lengths != sorted(lengths)
    later = data.starting_at(5).take(len(data) - 5)
    rows = [row_of[row.tobytes()] for x, *_ in later.as_numpy_iterator() for row in x["dense"]]
    assert rows == found[100:]


def test_buckets_need_pointers_and_shuffling(encoder, log, histories):
    with pytest.raises(ValueError, match="`length_buckets` change the order of rows; pass shuffle"):
        Batches.from_rows(encoder, log, histories, length_buckets=(2,))
    with pytest.raises(ValueError, match="`length_buckets` can't cut the histories seen, liked"):
        Batches.from_rows(encoder, histories.attach(log), shuffle=True, length_buckets=(2,))


def test_no_iterator_waits_at_its_end_for_a_thread_that_tunes_it(encoder, log, histories):
    data = Batches.from_rows(encoder, log, histories, batch_size=64, shuffle=True)
    mapped = data.map(lambda *parts: parts)
    for found in (data, data.starting_at(3), mapped, mapped.starting_at(3), data.take(2)):
        assert found.options().autotune.enabled is False


def test_the_remainder_may_be_dropped(encoder, log, histories):
    data = Batches.from_rows(encoder, log, histories, batch_size=64, drop_remainder=True)
    assert data.cardinality().numpy() == 3
    assert collect(data)["dense"].shape == (192, 3)


def test_rows_with_list_columns_need_no_histories(encoder, log, histories):
    data = Batches.from_rows(encoder, histories.attach(log), batch_size=100)
    expected = collect(Batches.from_rows(encoder, log, histories))
    np.testing.assert_array_equal(collect(data)["seen"], expected["seen"])


def test_parquet_shards_are_read_like_one_frame(encoder, log, histories, tmp_path):
    log.iloc[:100].to_parquet(tmp_path / "a.parquet")
    log.iloc[100:].to_parquet(tmp_path / "b.parquet")
    expected = collect(Batches.from_rows(encoder, log, histories))
    for rows in (tmp_path, [tmp_path / "a.parquet", tmp_path / "b.parquet"]):
        found = collect(Batches.from_rows(encoder, rows, histories))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    with pytest.raises(ValueError, match="no Parquet file or folder .*nowhere"):
        Batches.from_rows(encoder, tmp_path / "nowhere", histories)


def test_an_empty_history_of_every_user_works(encoder, log):
    nothing = Histories(encoder, log.iloc[:1].assign(is_like=0))
    assert collect(Batches.from_rows(encoder, log, nothing))["liked"].sum() == 0


def test_what_does_not_belong_together_is_refused(encoder, log, histories):
    other = FeatureEncoder(log_schema()).fit(make_log(seed=8))
    with pytest.raises(ValueError, match="`histories` were encoded by another encoder"):
        Batches.from_rows(other, log, histories)
    with pytest.raises(ValueError, match="has histories .seen, liked.*`histories` is None"):
        Batches.from_rows(encoder, log)
    with pytest.raises(ValueError, match="`freeze_at` can't cut the histories seen, liked"):
        Batches.from_rows(encoder, histories.attach(log), freeze_at=FREEZE)
    mixed = histories.attach(log).drop(columns=["liked_video_id", "liked_age_seconds"])
    with pytest.raises(ValueError, match="`freeze_at` can't cut the histories seen, which"):
        Batches.from_rows(encoder, mixed, histories, freeze_at=FREEZE)
    for size in (0, True, 2.0):
        with pytest.raises(ValueError, match=f"batch_size is {size}"):
            Batches.from_rows(encoder, log, histories, batch_size=size)
    with pytest.raises(ValueError, match="hold the histories seen, liked as list columns, and"):
        Batches.from_rows(encoder, histories.attach(log), histories)
    with pytest.raises(ValueError, match="`histories` is a DataFrame; expected Histories.encoder"):
        Batches.from_rows(encoder, log, log)
    with pytest.raises(ValueError, match="found dict; expected a pandas.*paths of Parquet"):
        Batches.from_rows(encoder, log.to_dict("list"), histories)
    with pytest.raises(ValueError, match="data = RankingData"):
        Batches.from_rows(FeatureEncoder(log_schema()), log, histories)
    with pytest.raises(ValueError, match="the frame is empty"):
        Batches.from_rows(encoder, log.iloc[:0], histories)
