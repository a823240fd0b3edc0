"""Histories from logs of their own, and times at which each history or row is frozen."""

import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    History,
    HistoryGroup,
    RankingData,
)
from keras_infnet.data import Batches, FeatureEncoder, Histories, prepare
from tests.prepared import collect

pytestmark = pytest.mark.one_backend
DAY = 86_400_000
START = pd.Timestamp("2026-11-18").value // 10**6


def schema(**kwargs):
    return FeatureSchema(
        features=[
            CategoricalFeature("article_id", "item", dtype="int"),
            CategoricalFeature("topic", "item"),
        ],
        histories=[
            History("seen", ("article_id",), max_length=4, actions=("click",)),
            History(
                "reads",
                ("article_id", "topic"),
                max_length=3,
                actions=("finished",),
                groups=(HistoryGroup("all"), HistoryGroup("finished", any_of=("finished",))),
            ),
        ],
        tasks=[BinaryTask("click")],
        **kwargs,
    )


@pytest.fixture(scope="module")
def log():
    """Exposures of five days."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": rng.integers(0, 9, 150), "article_id": rng.integers(0, 20, 150)})
    log["time_ms"] = START + np.sort(rng.integers(0, 5 * DAY // 60_000, 150)) * 60_000
    return log.assign(topic=rng.choice(list("abc"), 150), click=rng.integers(0, 2, 150))


@pytest.fixture(scope="module")
def reads():
    """Reads, some before the log, some at the very time of an exposure; datetimes in a zone."""
    rng = np.random.default_rng(1)
    minutes = rng.integers(-2 * DAY // 60_000, 5 * DAY // 60_000, 200)
    times = pd.to_datetime(START + minutes * 60_000, unit="ms", utc=True)
    columns = {"user_id": rng.integers(0, 12, 200), "article_id": rng.integers(0, 30, 200)}
    finished = rng.choice([0, 1, np.nan], 200)
    reads = pd.DataFrame({**columns, "topic": rng.choice(list("cde"), 200), "finished": finished})
    return reads.assign(time_ms=times.tz_convert("Europe/Copenhagen"))


@pytest.fixture(scope="module")
def data(log, reads):
    parts = {"validation": "2026-11-20", "test": "2026-11-22"}
    return RankingData(schema(), log, events={"reads": reads}, **parts)


def past(events, row, length, until=None):
    """Numbers of the newest events of a row's user before it, and before `until`: a loop."""
    cut = row.time_ms if until is None else min(row.time_ms, until)
    times = events["time_ms"]
    if times.dtype != "int64":
        times = times.map(lambda time: time.value // 10**6)
    found = [
        (time, number)
        for number, (user, time) in enumerate(zip(events["user_id"], times, strict=True))
        if user == row.user_id and time < cut
    ]
    return [number for _, number in sorted(found)][-length:]


def test_a_history_of_its_own_log_equals_a_slow_loop(log, reads, data):
    attached = data.attach(log)
    for row in attached.sample(60, random_state=0).itertuples():
        wanted = reads.iloc[past(reads, row, 3)]
        assert list(row.reads_article_id) == wanted["article_id"].tolist()
        assert list(row.reads_topic) == wanted["topic"].tolist()
        assert list(row.reads_finished) == wanted["finished"].fillna(-1).tolist()
        seconds = [row.time_ms // 1000 - t.value // 10**9 for t in wanted["time_ms"]]
        assert list(row.reads_age_seconds) == seconds
        seen = log.iloc[past(log, row, 4)]
        assert list(row.seen_article_id) == seen["article_id"].tolist()
    # The rows that hold their histories, and the pointers, give one encoding.
    found, wanted = collect(data.batches("test", labels=False)), data.attach("test")
    for name, array in data.encoder.transform(wanted).items():
        np.testing.assert_array_equal(found[name], array)


def test_the_encoder_learns_reads_up_to_the_last_training_row_alone(log, reads, data):
    train = data.frame("train")
    end = pd.to_datetime(train["time_ms"].max(), unit="ms", utc=True)
    known = reads[reads["time_ms"] <= end]
    ids = set(train["article_id"]) | set(known["article_id"])
    assert set(data.encoder.programs["article_id"].values.to_pylist()) == ids
    assert len(known) < len(reads)
    topics = set(train["topic"]) | set(known["topic"])
    assert set(data.encoder.programs["topic"].values.to_pylist()) == topics
    alone = FeatureEncoder(schema()).fit(train, event_logs={"reads": known})
    assert alone.schema == data.schema


def test_saved_data_have_them_again(tmp_path, reads, log):
    freeze = {"seen": "part", "reads": "2026-11-21"}
    events = {"reads": reads}
    data = RankingData(schema(), log, test="2026-11-22", events=events, freeze_at=freeze)
    data.save(tmp_path / "data")
    attached = RankingData.load(tmp_path / "data").attach("test")
    pd.testing.assert_frame_equal(attached, data.attach("test"))


def test_events_that_can_not_be_are_refused(log, reads, data):
    def made(events, schema_=None, **changes):
        return RankingData(schema_ or schema(), log.assign(**changes), events=events)

    cases = [
        ({"read": reads}, "history `read`"),
        (reads, "`events` is a DataFrame; expected frames by history name"),
        ({"reads": reads[:0]}, "RankingData, events `reads`"),
        ({"reads": reads.drop(columns="time_ms")}, "no column `time_ms`"),
        ({"reads": reads.drop(columns="topic")}, "`topic`"),
        ({"reads": reads.drop(columns="finished")}, "`finished`"),
        ({"reads": reads.assign(user_id=reads.user_id.map("u{}".format))}, "holds strings, and"),
        ({"reads": reads.assign(time_ms=None)}, "events `reads`: column `time_ms` has 200 missing"),
    ]
    for events, message in cases:
        with pytest.raises(ValueError, match=message):
            made(events)
    later = reads.assign(time_ms=reads["time_ms"] + pd.Timedelta(days=30))
    with pytest.raises(
        ValueError, match="first event is at .* and the last row at .* none is in a"
    ):
        Histories(data.encoder, log, events={"reads": later})
    with pytest.raises(ValueError, match="events of reads need times, and the schema has no time_"):
        made({"reads": reads}, schema(time_key=None))
    with pytest.raises(ValueError, match="gives the histories reads, which the rows hold as list"):
        RankingData(data.encoder, data.attach(log), events={"reads": reads})


def test_prepare_takes_them_as_list_columns(tmp_path, log, data):
    with pytest.raises(ValueError, match="History `reads`"):
        prepare(schema(), log, tmp_path / "raw", verbose=False)
    encoder = prepare(data.encoder, data.attach(log), tmp_path / "rows", verbose=False)
    found = collect(Batches.from_folder(encoder, tmp_path / "rows", labels=False))
    wanted = collect(data.batches(log, labels=False))
    for name in ("reads", "seen"):
        # A folder has its rows in another order.
        here, there = (np.unique(x[name].reshape(len(log), -1), axis=0) for x in (found, wanted))
        np.testing.assert_array_equal(here, there)


def test_each_history_may_have_a_time_of_its_own(log, reads, data):
    until = pd.Timestamp("2026-11-21")
    for freeze_at in ({"reads": until}, {"reads": "2026-11-21", "seen": "never"}):
        attached = data.attach("test", freeze_at=freeze_at)
        for row in attached.sample(20, random_state=0).itertuples():
            wanted = reads.iloc[past(reads, row, 3, until.value // 10**6)]
            assert list(row.reads_article_id) == wanted["article_id"].tolist()
            rolling = log.iloc[past(log, row, 4)]
            assert list(row.seen_article_id) == rolling["article_id"].tolist()
        found = collect(data.batches("test", labels=False, freeze_at=freeze_at))
        np.testing.assert_array_equal(found["reads"], data.encoder.transform(attached)["reads"])
    part = data.attach("test", freeze_at={"seen": "part"})["seen_article_id"].tolist()
    assert part == data.attach("test", freeze_at="part")["seen_article_id"].tolist()


def test_each_row_may_have_a_time_of_its_own(log, data):
    rows = data.frame("test")
    rng = np.random.default_rng(3)
    until = rows["time_ms"] - rng.integers(0, 2 * DAY, len(rows))
    given = [until, until.to_numpy(), pd.to_datetime(until, unit="ms"), {"seen": until}]
    for freeze_at in given:
        attached = data.attach(rows, freeze_at=freeze_at)
        for number, row in enumerate(attached.itertuples()):
            wanted = log.iloc[past(log, row, 4, until.iloc[number])]
            assert list(row.seen_article_id) == wanted["article_id"].tolist()
        found = collect(data.batches("test", labels=False, freeze_at=freeze_at))
        np.testing.assert_array_equal(found["seen"], data.encoder.transform(attached)["seen"])


def test_times_that_can_not_be_are_refused(tmp_path, log, reads, data):
    rows = data.frame("test")
    until = rows["time_ms"]
    for freeze_at, message in [
        (
            until[:-1],
            f"freeze_at has {len(rows) - 1} times of another index, and there are {len(rows)}",
        ),
        (
            until.to_numpy()[1:],
            f"freeze_at has {len(rows) - 1} times, and there are {len(rows)} rows",
        ),
        (until[::-1], "times of another index"),
        (
            until.astype("Int64").mask(until.index == until.index[2]),
            "1 missing times; expected one",
        ),
        ({"red": "part"}, "history `red`"),
        ({"seen": "noon"}, "freeze_at .*'noon'; expected a date"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.attach(rows, freeze_at=freeze_at)
    with pytest.raises(
        ValueError, match=r"freeze_at holds 150 times, and the data have several pa"
    ):
        RankingData(data.encoder, log, events={"reads": reads}, freeze_at=log["time_ms"])
    seen = FeatureSchema(schema().features, schema().tasks, schema().histories[:1])
    encoder = prepare(seen, log, tmp_path / "log", verbose=False)
    folder = RankingData.open(tmp_path / "log", freeze_at={"seen": "2026-11-20"})
    whole = RankingData(encoder, log, freeze_at={"seen": "2026-11-20"})
    for given in (None, {"seen": "never"}):
        sums = [collect(d.batches("train", labels=False, freeze_at=given)) for d in (folder, whole)]
        assert sums[0]["seen"].sum() == sums[1]["seen"].sum()
    with pytest.raises(
        ValueError, match=re.escape("which a prepared folder's rows can't be given")
    ):
        collect(folder.batches("train", freeze_at=log["time_ms"]))
