"""Identifiers in CSV: a gap, 19 digits, leading zeros, and texts that pandas takes for missing."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History
from keras_infnet.data import Batches, Histories, prepare
from tests.cases.test_float_ids import make_log

pytestmark = pytest.mark.one_backend


def schema(dtype=None):
    video = CategoricalFeature("video_id", "item", dtype=dtype)
    return FeatureSchema([video], [BinaryTask("click")], [History("seen", ["video_id"])])


def prepared(log, folder, dtype=None, **kwargs):
    """The encoder, and the users and inputs of the rows in the order of the log."""
    log.to_csv(folder / "log.csv", index=False)
    encoder = prepare(schema(dtype), folder / "log.csv", folder / "out", verbose=False, **kwargs)
    rows = pq.read_table(folder / "out" / "rows" / "train").sort_by("row")
    return encoder, rows["raw/user_id"].to_pylist(), rows["x/categorical/0"].to_pylist()


@pytest.mark.parametrize("dtype", ["int", None])
@pytest.mark.parametrize("chunk", [600, 300, 7])
def test_a_gap_leaves_all_videos_what_they_are(tmp_path, dtype, chunk):
    log = make_log()
    log["video_id"] = log.video_id.astype("Int64").mask(log.index == 500)
    encoder, users, ids = prepared(log, tmp_path, dtype, chunk_rows=chunk)
    assert encoder.programs["video_id"].values.to_pylist() != []
    assert set(encoder.programs["video_id"].values.to_pylist()) == set(log.video_id.dropna())
    assert users == log.user_id.tolist()
    np.testing.assert_array_equal(ids, encoder.transform(log)["categorical"][:, 0])
    assert ids[500] == 0


def test_leading_zeros_make_other_users(tmp_path):
    log = make_log()
    users = np.where(log.index % 2, "07", "7").tolist()
    assert prepared(log.assign(user_id=users), tmp_path)[1] == users


def test_users_that_look_like_numbers_in_some_chunks_alone_are_an_error(tmp_path):
    log = make_log()
    log["user_id"] = np.where(log.index < 300, "7", "07")
    with pytest.raises(ValueError, match="rows 300 to 599: column `user_id` holds .*string"):
        prepared(log, tmp_path, chunk_rows=300)


def test_na_and_null_are_identifiers_and_an_empty_field_is_none(tmp_path):
    log = make_log()
    names = np.array(["NA", "null", "None", "nan", "x", ""])
    log["video_id"], log["user_id"] = names[log.index % 6], names[log.index % 4]
    encoder, users, ids = prepared(log, tmp_path)
    assert sorted(encoder.programs["video_id"].values.to_pylist()) == sorted(names[:5])
    assert users == log.user_id.tolist()
    assert (np.array(ids) == 0).tolist() == (log.index % 6 == 5).tolist()


def test_na_is_a_missing_number(tmp_path):
    log = make_log()
    videos = log.video_id.astype(str).where(log.index % 3 > 0, "NA")
    encoder, _, ids = prepared(log.assign(video_id=videos), tmp_path, "int")
    assert (np.array(ids) == 0).tolist() == (log.index % 3 == 0).tolist()
    assert len(encoder.programs["video_id"].values) == log.video_id[log.index % 3 > 0].nunique()


def test_rows_without_a_user_have_no_history_and_enter_none(tmp_path):
    log = make_log()
    log["user_id"] = log.user_id.astype("Int64").mask(log.index % 3 == 0)
    encoder, users, _ = prepared(log, tmp_path, partitions=3, block_rows=50)
    assert [user is None for user in users] == (log.index % 3 == 0).tolist()
    expected = Histories(encoder, log).attach(log)
    assert expected.seen_video_id[::3].map(len).eq(0).all()
    batches = Batches.from_folder(encoder, tmp_path / "out", batch_size=64)
    lengths = [(x["seen"][:, :, 0] > 0).sum(1) for x, _, _ in batches.as_numpy_iterator()]
    assert sorted(np.concatenate(lengths)) == sorted(expected.seen_video_id.map(len))


def test_whole_numbers_of_one_chunk_and_floats_of_another_do_not_merge(tmp_path):
    log = make_log()
    frames = [log[:300], log[300:].assign(video_id=1.0)]
    with pytest.raises(ValueError, match="column `video_id` holds double .*int64.*`Int64` knows"):
        prepare(schema(), iter(frames), tmp_path / "out", verbose=False)
