"""Histories whose events come from a log of their own, day by day, against all days at once."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from keras_infnet import History
from keras_infnet.daily import DailyConfig, DailyError
from keras_infnet.daily.day_data import data_of, held_events, held_out, with_past
from keras_infnet.daily.day_log import frame_of, table_of
from keras_infnet.data import FeatureEncoder, Histories
from tests.daily.conftest import untrained as untrained_versions
from tests.daily.small_job import day_frame, day_name, schema, small_job, write_day, write_days

pytestmark = pytest.mark.one_backend
FIRST, SECOND, THIRD, FOURTH = map(day_name, range(4))
READS = History("reads", ("video_id",), max_length=4, actions=("finished",))


def read_frame(number):
    """Reads of a day: of any video, before and after the rows that are held out."""
    rows = day_frame(number, rows=300, seed=1)[["user_id", "video_id", "time_ms"]]
    return rows.assign(finished=np.random.default_rng(number).integers(0, 2, len(rows)))


def with_reads(**changes):
    given = schema()
    return dataclasses.replace(given, histories=(*given.histories, READS), **changes)


def job_of(folder, **changes):
    events = {"reads": f"{folder / 'reads'}/{{day}}"}
    given = {"schema": with_reads(), "events": events, **changes}
    return small_job(folder / "ranker", folder / "logs", **given)[0]


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Logs and reads of three days, of which a job has done two."""
    folder = tmp_path_factory.mktemp("own_events")
    write_days(folder, 3)
    for number in range(3):
        write_day(folder / "reads", day_name(number), read_frame(number))
    with pytest.MonkeyPatch.context() as patched:
        untrained_versions.__wrapped__(patched)
        job_of(folder).backfill(FIRST, SECOND)
    return folder


@pytest.fixture
def go_on(days, tmp_path, untrained):
    """A copy of them, in which nothing is trained or exported."""
    return shutil.copytree(days, tmp_path / "copy")


def test_histories_are_those_of_all_days_at_once(go_on):
    version = job_of(go_on).versions.path(2)
    encoder, past = FeatureEncoder.load(version / "encoder"), version / "past"
    day = frame_of([*held_out(past), table_of(day_frame(2))])
    reads = frame_of([*held_events(past, "reads"), table_of(read_frame(2))])
    rows = with_past(encoder.schema, day, np.ones(len(day), bool), past)
    found = data_of(encoder, rows, past, {"reads": reads}).attach(rows)

    log = pd.concat(map(day_frame, range(3)), ignore_index=True)
    events = pd.concat(map(read_frame, range(3)), ignore_index=True)
    whole = Histories(encoder, log, events={"reads": events}).attach(log.tail(len(day)))
    for column in ("reads_video_id", "reads_finished", "reads_age_seconds", "seen_video_id"):
        assert list(map(list, found[column])) == list(map(list, whole[column]))
    assert found["reads_video_id"].map(len).sum() > 500


def test_ids_that_only_events_have_are_learned_and_days_go_on(go_on):
    only = read_frame(2).assign(video_id=777)
    write_day(go_on / "reads", THIRD, only)
    job = job_of(go_on)
    assert job.run(THIRD).number == 3
    before, now = (FeatureEncoder.load(job.versions.path(n) / "encoder") for n in (2, 3))
    asked = day_frame(2).head(1).assign(video_id=777, seen_before=0)
    (was,), (learned,) = (e.transform(asked)["categorical"][:, 1] for e in (before, now))
    assert was == 1 and learned > 1


def test_the_same_rows_with_other_events_are_another_day(go_on):
    job = job_of(go_on)
    assert job.run(SECOND).status == "unchanged"
    write_day(go_on / "reads", SECOND, read_frame(1).head(200))
    assert job.run(SECOND).number == 3


def early(frame):
    return frame.assign(time_ms=frame["time_ms"] - 86_400_000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (early, r"events of `reads`: \d+ of 300 rows are older than 2026-11-02T.*earlier day"),
        (lambda f: f.drop(columns="finished"), r"events of `reads`: column `finished` is missing"),
        (lambda f: f.assign(time_ms=None), r"events of `reads`.*`time_ms`.*missing"),
        (lambda f: read_frame(3), r"events of `reads`: all 300 are later than 2026-11-03T.*later"),
        (lambda f: pd.concat([f] * 3), r"`reads`: 0.6667 of the events equal.*duplicates is 0.5"),
        (lambda f: f.assign(video_id=None), r"events of `reads`.*`video_id` is null in all 300"),
        (lambda f: f.assign(finished=2), r"events of `reads`.*`finished`.*not 0, 1 or missing"),
        (
            lambda f: f.assign(user_id="u" + f["user_id"].astype("str")),
            r"events of `reads`: column `user_id` is of kind string, and in the log of kind int",
        ),
        (lambda f: f.head(0), r"no row.*reads/2026-11-03"),
    ],
)
def test_wrong_events_are_refused_and_what_serves_stays(go_on, wrong, message):
    write_day(go_on / "reads", THIRD, wrong(read_frame(2)))
    job = job_of(go_on)
    with pytest.raises(DailyError, match=message) as raised:
        job.run(THIRD)
    assert raised.value.code == 3 and job.versions.serving.number == 2


def test_what_is_strange_in_events_is_said(go_on):
    strangers = read_frame(2).head(100)
    strangers["user_id"] += 10**6
    write_day(go_on / "reads", THIRD, pd.concat([strangers, strangers.tail(10)]))
    job = job_of(go_on)
    assert job.run(THIRD).status == "published"
    found = {f["check"]: f for f in job.versions.metrics(3)["findings"] if f["what"] == "reads"}
    assert {check: f["level"] for check, f in found.items()} == {
        "users": "strange",
        "event_rate": "strange",
        "duplicates": "strange",
    }
    since_first_row = [
        (events["time_ms"] >= day_frame(number)["time_ms"].min()).sum()
        for number, events in ((1, read_frame(1)), (2, pd.concat([strangers, strangers.tail(10)])))
    ]
    assert found["event_rate"]["value"] == pytest.approx(since_first_row[0] / since_first_row[1])
    assert found["duplicates"]["value"] == pytest.approx(10 / 110)
    assert "none of their users has a row on this day" in found["users"]["text"]


def test_events_of_a_day_that_was_kept_back_are_refused_on_the_next(go_on):
    write_day(go_on / "logs", FOURTH, day_frame(3))
    write_day(go_on / "reads", FOURTH, read_frame(2))
    job = job_of(go_on, gate={"least": 2.0})
    assert job.run(THIRD).status == "kept"
    older = r"events of `reads`: \d+ of 300 rows are older.*newest row of 2026-11-03"
    with pytest.raises(DailyError, match=older):
        job.run(FOURTH)


def test_events_that_the_rows_hold_already_are_refused(go_on):
    listed = day_frame(2).assign(reads_video_id=[[1]] * 400, reads_finished=[[1]] * 400)
    write_day(go_on / "logs", THIRD, listed.assign(reads_age_seconds=[[60]] * 400))
    with pytest.raises(DailyError, match="hold `reads` as list columns.*Leave out.*events.reads"):
        job_of(go_on).run(THIRD)


def test_a_first_day_whose_events_are_all_held_out_is_refused(go_on):
    shutil.rmtree(go_on / "ranker")
    write_day(go_on / "reads", FIRST, read_frame(0).tail(10))
    with pytest.raises(DailyError, match="events of `reads`: none of 10 is before the last row"):
        job_of(go_on).run(FIRST)


def test_events_that_come_or_go_need_a_folder_of_their_own(go_on):
    with pytest.raises(
        DailyError, match=r"`events` is \[\] in the configuration and \['reads'\] in"
    ):
        job_of(go_on, events={}).run(THIRD)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"red": "reads/{day}"}, r"events.red names no history.*Did you mean `reads`"),
        ({"reads": "reads.parquet"}, r"events.reads.*a path with \{day\}"),
        (["reads"], r"events.*paths by history"),
    ],
)
def test_wrong_configurations_name_the_key(tmp_path, events, message):
    with pytest.raises(ValueError, match=message):
        DailyConfig(folder=tmp_path, schema=with_reads(), log="{day}", events=events)


def test_relative_paths_are_of_the_files_folder(tmp_path):
    (tmp_path / "schema.json").write_text(with_reads().to_json())
    (tmp_path / "daily.json").write_text(
        '{"folder": "r", "schema": "schema.json", "log": "{day}", "events": {"reads": "e/{day}"}}'
    )
    config = DailyConfig.load(tmp_path / "daily.json")
    assert config.events == {"reads": str(tmp_path / "e/{day}")}
