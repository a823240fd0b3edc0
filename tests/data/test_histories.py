import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, RankingData
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.data.notices import repeated_in_frame
from tests.logs import log_schema, make_log

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def log():
    return make_log(rows=300)


@pytest.fixture(scope="module")
def encoder(log):
    return FeatureEncoder(log_schema()).fit(log)


def slow_history(log, row, length, where=None, freeze_at=None):
    """The newest events of the row's user strictly before the row: a loop over the log."""
    cut = row.time_ms if freeze_at is None else min(row.time_ms, freeze_at)
    events = [
        e
        for e in log.sort_values("time_ms", kind="stable").itertuples()
        if e.user_id == row.user_id
        and e.time_ms < cut
        and (where is None or getattr(e, where) == 1)
    ]
    return events[-length:]


@pytest.mark.parametrize("freeze_at", [None, 1_650_000_020_000])
def test_histories_equal_a_slow_loop(log, encoder, freeze_at):
    shuffled = log.sample(frac=1, random_state=1)
    frame = Histories(encoder, log).attach(shuffled, freeze_at)
    for (_, found), row in zip(frame.iterrows(), shuffled.itertuples(), strict=True):
        seen = slow_history(log, row, 5, freeze_at=freeze_at)
        assert list(found.seen_video_id) == [e.video_id for e in seen]
        assert list(found.seen_is_click) == [e.is_click for e in seen]
        assert list(found.seen_age_seconds) == [(row.time_ms - e.time_ms) // 1000 for e in seen]
        ratios = [e.play_ms / e.length_ms if e.length_ms else np.nan for e in seen]
        np.testing.assert_allclose(np.array(found.seen_ratio, "float32"), ratios, rtol=1e-6)
        liked = slow_history(log, row, 3, "is_like", freeze_at)
        assert list(found.liked_video_id) == [e.video_id for e in liked]


def test_no_event_of_the_present_or_the_future_enters(log, encoder):
    histories = Histories(encoder, log)
    starts, ends, times = histories.windows("seen", log)
    events = histories.events["seen"]
    for start, end, time in zip(starts, ends, times, strict=True):
        assert (events.times[start:end] < time).all()


def test_a_row_repeated_at_the_same_millisecond_never_sees_itself(encoder, log):
    twice = pd.concat([log, log], ignore_index=True)
    with pytest.warns(UserWarning, match="300 of 600 rows equal an earlier row of the same user"):
        frame = Histories(encoder, twice).attach(twice)
    single = Histories(encoder, log).attach(log)
    first = frame.groupby(["user_id"]).time_ms.transform("min") == frame.time_ms
    assert (frame.seen_video_id[first].map(len) == 0).all()
    assert (single.seen_video_id.map(len).to_numpy() <= frame.seen_video_id[:300].map(len)).all()


def test_the_order_of_the_log_does_not_matter(encoder, log):
    distinct = log.drop_duplicates(["user_id", "time_ms"])
    a = Histories(encoder, distinct).attach(log)
    b = Histories(encoder, distinct.sample(frac=1, random_state=2)).attach(log)
    assert a.seen_video_id.map(list).tolist() == b.seen_video_id.map(list).tolist()


def test_earlier_events_without_times_come_first_with_unknown_age_and_actions(encoder, log):
    earlier = pd.DataFrame(
        {"user_id": [3, 3, 77], "video_id": [5, 6, 7], "tag": ["1", None, "2"]}
    ).assign(length=np.nan, page_id=4, is_like=[1, 0, 1])
    histories = Histories(encoder, log, {"seen": earlier})
    row = log[log.user_id == 3].nsmallest(1, "time_ms").iloc[:1]
    found = histories.attach(row).iloc[0]
    assert list(found.seen_video_id) == [5, 6]
    assert list(found.seen_age_seconds) == [-1, -1]
    assert list(found.seen_is_click) == [-1, -1]
    assert list(found.seen_is_like) == [1, 0]
    assert np.isnan(np.array(found.seen_ratio, "float32")).all()
    stranger = histories.attach(row.assign(user_id=77)).iloc[0]
    assert list(stranger.seen_video_id) == [7]


def test_earlier_events_with_times_have_ages(encoder, log):
    earlier = log.iloc[:1].assign(user_id=3, time_ms=log.time_ms.min() - 10_000, video_id=5)
    row = log[log.user_id == 3].nsmallest(1, "time_ms").iloc[:1]
    found = Histories(encoder, log, {"seen": earlier}).attach(row).iloc[0]
    assert list(found.seen_age_seconds) == [(row.time_ms.iloc[0] - earlier.time_ms.iloc[0]) // 1000]


def test_a_user_without_events_has_an_empty_history(encoder, log):
    found = Histories(encoder, log).attach(log.iloc[:1].assign(user_id=999)).iloc[0]
    assert list(found.seen_video_id) == [] and list(found.liked_video_id) == []


def test_without_times_the_order_of_rows_counts(log):
    schema = log_schema(time_key=None)
    encoder = FeatureEncoder(schema).fit(log)
    frame = Histories(encoder, log).attach(log)
    for i in (0, 50, 299):
        past = log.iloc[:i]
        expected = past[past.user_id == log.user_id[i]].video_id.tolist()[-5:]
        assert list(frame.seen_video_id[i]) == expected
        assert list(frame.seen_age_seconds[i]) == [-1] * len(expected)
    part = log.iloc[200:]
    frozen = Histories(encoder, log).attach(part, freeze_at="first_row")
    for user, rows in frozen.groupby("user_id"):
        first = rows.index[0]
        expected = log.iloc[:first][log.user_id[:first] == user].video_id.tolist()[-5:]
        assert all(list(h) == expected for h in rows.seen_video_id)


def test_events_without_an_id_are_left_out():
    schema = FeatureSchema(
        [CategoricalFeature("video", "item")],
        [BinaryTask("click")],
        [History("s", ("video",))],
        time_unit="ms",
        time_origin=None,
    )
    log = pd.DataFrame(
        {"user_id": 1, "time_ms": [1, 2, 3], "video": ["a", None, "b"], "click": [0, 1, 0]}
    )
    encoder = FeatureEncoder(schema).fit(log)
    assert Histories(encoder, log).attach(log).s_video.map(list).tolist() == [[], ["a"], ["a"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_ms": 1.5}, "column `time_ms`: found values of type double with a fraction"),
        (
            {"time_ms": "today"},
            "column `time_ms`: found values of type .*string; expected date",
        ),
        ({"user_id": pd.Timestamp("2026-01-01")}, "user key `user_id`: found values of type time"),
        ({"user_id": b"a"}, r"user key `user_id`: .*binary.*`frame\[name\].str.decode\('utf-8'\)`"),
        ({"user_id": 2.0**53}, r"user key `user_id`: found floats of 2\*\*53 or more.*`Int64`"),
        ({"is_like": 3}, "action `is_like`: 300 values are not 0, 1"),
    ],
)
def test_a_log_that_is_no_log_is_refused(encoder, log, change, message):
    with pytest.raises(ValueError, match=message):
        Histories(encoder, log.assign(**change))


def test_missing_columns_and_wrong_arguments_are_named(encoder, log):
    with pytest.raises(ValueError, match="no column `time_ms`. Did you mean `time`"):
        Histories(encoder, log.rename(columns={"time_ms": "time"}))
    with pytest.raises(ValueError, match="no history `sen`"):
        Histories(encoder, log, {"sen": log})
    with pytest.raises(ValueError, match="the frame is empty"):
        Histories(encoder, log.iloc[:0])
    with pytest.raises(ValueError, match="freeze_at .also 'first_row'. is 'noon'; expected a date"):
        Histories(encoder, log).attach(log, freeze_at="noon")
    untimed = FeatureEncoder(log_schema(time_key=None)).fit(log)
    with pytest.raises(ValueError, match="repeated labels"):
        Histories(untimed, pd.concat([log, log]))
    with pytest.raises(ValueError, match="1 rows are not in the log by their index .such as 999"):
        Histories(untimed, log).attach(log.iloc[:1].set_axis([999]))
    with pytest.raises(ValueError, match="index .such as 0: .*don't reset it after a split"):
        Histories(untimed, log).attach(log[log.user_id != log.user_id[0]].reset_index(drop=True))
    with pytest.raises(ValueError, match="`earlier` is a DataFrame; expected frames by history"):
        Histories(encoder, log, log)
    with pytest.raises(ValueError, match="data = RankingData"):
        Histories(FeatureEncoder(log_schema()), log)


@pytest.mark.parametrize("as_text", ["frame", "log", "earlier"])
@pytest.mark.parametrize("dtype", [str, "category", object])
def test_users_of_another_kind_are_an_error(encoder, log, as_text, dtype):
    text = log.assign(user_id=log.user_id.astype(str).astype(dtype))
    with pytest.raises(ValueError, match="column `user_id` holds .*s, and the log's "):
        if as_text == "earlier":
            Histories(encoder, log, {"seen": text})
        elif as_text == "log":
            Histories(encoder, text).windows("seen", log)
        else:
            Histories(encoder, log).windows("seen", text)


def test_users_may_be_numbers_and_strings_in_one_log(encoder, log):
    users = log.user_id.map(lambda user: f"guest {user}" if user < 6 else user)
    mixed = log.assign(user_id=users.astype(object))
    histories, numbers = Histories(encoder, mixed), log.user_id >= 6
    expected = Histories(encoder, log).attach(log[numbers]).seen_video_id
    assert (
        histories.attach(mixed[numbers]).seen_video_id.map(list).tolist()
        == expected.map(list).tolist()
    )


@pytest.mark.parametrize("dtype", ["float64", "Int64", "category", object, "uint8"])
def test_users_of_another_number_type_are_the_same_users(encoder, log, dtype):
    histories = Histories(encoder, log)
    other = log.assign(user_id=log.user_id.astype(dtype))
    for found, expected in zip(
        histories.windows("seen", other), histories.windows("seen", log), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_times_in_seconds_are_the_same_instants(encoder, log):
    whole = log.assign(time_ms=log.time_ms // 1000 * 1000)
    histories = Histories(encoder, whole)
    for freeze_at in (None, int(log.time_ms.median()) // 1000):
        expected = histories.windows("seen", whole, freeze_at and freeze_at * 1000)
        windows = histories.windows("seen", log.assign(time_ms=log.time_ms // 1000), freeze_at)
        for found, right in zip(windows, expected, strict=True):
            np.testing.assert_array_equal(found, right)
    starts, ends, _ = histories.windows("seen", log, freeze_at="1990-01-01")
    np.testing.assert_array_equal(starts, ends)


def test_rows_twice_and_shuffled_rows_are_said(encoder, log):
    twice = pd.concat([log, log[:7]], ignore_index=True)
    with pytest.warns(UserWarning, match="Histories: 7 of 307 rows equal an earlier row"):
        Histories(encoder, twice)
    plain = FeatureSchema(log_schema().features, log_schema().tasks)
    with pytest.warns(UserWarning, match="RankingData: 7 of 307 rows equal an earlier row"):
        RankingData(plain, twice)
    # Rows of nobody are not of one user, however nobody is written.
    for nobody, dtype in ((-1, "int64"), (np.nan, "float64"), ("", object), (None, object)):
        anonymous = twice.assign(user_id=pd.Series([nobody] * 307, dtype=dtype))
        known = twice.user_id.astype(str) if dtype is object else twice.user_id
        assert repeated_in_frame(plain, anonymous) == 0
        assert repeated_in_frame(plain, anonymous.assign(user_id=known)) == 7
    # Rows that differ in one label are two rows; so are those of two users.
    other = log[:7].assign(is_click=1 - log.is_click[:7])
    Histories(encoder, pd.concat([log, other], ignore_index=True))
    Histories(encoder, pd.concat([log, log[:7].assign(user_id=99)], ignore_index=True))
    untimed = FeatureEncoder(log_schema(time_key=None)).fit(log)
    shuffled = log.sample(frac=1, random_state=0)
    users, places = shuffled.user_id.to_numpy(), shuffled.index.to_numpy()
    back = 0
    for user in set(users):
        back += int((np.diff(places[users == user]) < 0).sum())
    with pytest.warns(UserWarning, match=f"{back} of 300 rows have a smaller index"):
        Histories(untimed, shuffled)
    Histories(untimed, twice)
    Histories(untimed, log[log.user_id > 3])
    Histories(untimed, shuffled.set_axis(shuffled.index.astype(str)))


def test_a_column_of_the_log_does_not_stand_in_for_the_declared_ratio(encoder, log):
    expected = Histories(encoder, log)
    found = Histories(encoder, log.assign(seen_ratio=1.9))
    np.testing.assert_array_equal(found.events["seen"].columns, expected.events["seen"].columns)
    np.testing.assert_array_equal(
        np.concatenate(found.attach(log).seen_ratio.map(np.asarray).tolist()),
        np.concatenate(expected.attach(log).seen_ratio.map(np.asarray).tolist()),
    )


def test_infinite_parts_of_a_ratio_are_named(encoder, log):
    infinite = log.assign(play_ms=np.where(np.arange(len(log)) == 3, np.inf, log.play_ms))
    with pytest.raises(ValueError, match="History `seen`, ratio `play_ms`: .* are infinite"):
        Histories(encoder, infinite)
