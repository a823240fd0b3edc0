import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    History,
    RankingData,
    SincePrevious,
)
from keras_infnet.data import FeatureEncoder, Histories, frame_to_request, prepare
from tests.schema.whole_way import made, make_log

SEEN = History("seen", ["video_id"], max_length=4, quantities=(Age(), SincePrevious()))


def schema(history=SEEN, **kwargs):
    video = CategoricalFeature("video_id", "item")
    return FeatureSchema([video], [BinaryTask("click", "is_click")], [history], **kwargs)


def slow_seconds(log):
    """Seconds since the user's previous event for each row of the log, by pandas."""
    ordered = log.sort_values(["user_id", "time_ms"], kind="stable")
    seconds = ordered.groupby("user_id").time_ms.diff() // 1000
    return seconds.reindex(log.index).fillna(-1).astype("int64")


def test_seconds_are_those_of_pandas_also_where_the_window_cuts_the_previous_event():
    log = make_log()
    histories = Histories(FeatureEncoder(schema()).fit(log), log)
    attached = histories.attach(log)
    expected = slow_seconds(log)
    for row in (50, 150, 299):
        user, time = log.user_id[row], log.time_ms[row]
        past = log[(log.user_id == user) & (log.time_ms < time)]
        newest = past.sort_values("time_ms", kind="stable").tail(4).index
        assert list(attached.seen_since_previous_seconds[row]) == expected[newest].tolist()
    assert max(len(past) for past in attached.seen_video_id) == 4


def test_ids_are_logarithms_of_seconds():
    log = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 1],
            "time_ms": [0, 1_000, 5_500, 6_000, 9_000],
            "video_id": [1, 2, 3, 4, 5],
            "is_click": [0, 1, 0, 1, 0],
        }
    )
    encoder = FeatureEncoder(schema(time_unit="ms", time_origin=None)).fit(log)
    column = encoder.schema.history_columns("seen")["#since_previous"]
    events = Histories(encoder, log).events["seen"]
    # Users in order; unknown, 1 second, 4 seconds, 3 seconds; the second user's first event.
    assert events.columns[:, column].ravel().tolist() == [0, 2, 3, 3, 0]


def test_without_times_and_before_the_log_seconds_are_unknown():
    log = make_log(40).drop(columns="time_ms")
    encoder = FeatureEncoder(schema(time_key=None)).fit(log)
    column = encoder.schema.history_columns("seen")["#since_previous"]
    assert not Histories(encoder, log).events["seen"].columns[:, column].any()
    log = make_log(40)
    encoder = FeatureEncoder(schema()).fit(log)
    earlier = {"seen": pd.DataFrame({"user_id": [0, 0], "video_id": [1, 2]})}
    events = Histories(encoder, log, earlier).events["seen"]
    of_user = events.users == events.users[events.times == np.iinfo("int64").min][0]
    # Two events without a time, and the first with one.
    assert events.columns[of_user][:3, column].ravel().tolist() == [0, 0, 0]
    assert events.columns[of_user][3:, column].all()


def test_frames_requests_and_prepared_folders_agree(tmp_path):
    import tensorflow as tf

    log = make_log()
    encoder = FeatureEncoder(schema()).fit(log)
    rows = Histories(encoder, log).attach(log)
    packed = encoder.transform(rows)
    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, rows).items()}
    served = encoder.to_tensorflow()(request)
    for name, array in packed.items():
        np.testing.assert_array_equal(served[name].numpy(), array, err_msg=name)
    prepare(encoder, log, tmp_path / "log", keep=["video_id"], verbose=False)
    data = RankingData.open(tmp_path / "log")
    found = np.concatenate([x["seen"] for x, _, _ in data.batches("train").as_numpy_iterator()])
    of_rows = packed["seen"].reshape(len(log), -1).tolist()
    assert sorted(found.reshape(len(log), -1).tolist()) == sorted(of_rows)


def test_a_context_without_it_leaves_it_out():
    _, model = made(schema(), make_log(), event_context=("age",))
    assert not any("since_previous" in weight.path for weight in model.weights)


def test_it_stands_once_in_a_history():
    with pytest.raises(ValueError, match="each kind once"):
        History("seen", ["video_id"], quantities=(SincePrevious(), SincePrevious()))
