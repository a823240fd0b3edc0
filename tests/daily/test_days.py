"""Days that go well and days that don't: what serves stays whole, and errors name the stage."""

import dataclasses
import errno

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CountFeature, RelativeFeature
from keras_infnet._base.locks import locked
from keras_infnet.daily import DailyError, Versions, day_data
from keras_infnet.daily.train import _curve
from tests.daily.small_job import day_frame, day_name, schema, small_job, write_day

pytestmark = pytest.mark.one_backend
FIRST, SECOND, THIRD, FOURTH = map(day_name, range(4))


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_each_day_goes_on_from_the_one_before(go_on):
    job, events = go_on()
    outcome = job.run(THIRD)
    assert (outcome.status, outcome.number, outcome.code) == ("published", 3, 0)
    first, second, third = job.versions.records()
    assert [v.base for v in (first, second, third)] == [None, 1, 2]
    # What a day holds out, the next trains on.
    assert second.rows == {"day": 400, "train": 400, "holdout": 100}
    assert first.rows == {"day": 400, "train": 300, "holdout": 100}
    assert set(third.measured) == {"all", "new"}
    assert third.measured["all"]["click"]["auc"][1] > 0
    assert job.versions.serving == third
    assert job.status()["serving"] == 3
    stages = [event["stage"] for event in events if event["event"] == "stage"]
    assert stages == [
        "recover", "read", "check", "score", "grow", "train", "calibrate", "gate", "write",
        "export", "publish",
    ]  # fmt: skip
    assert not (job.versions.folder / "work").exists()


def test_numbers_relative_to_a_list_are_computed_of_each_day(tmp_path, untrained):
    for number in range(2):
        rows = day_frame(number)
        write_day(tmp_path / "logs", day_name(number), rows.assign(shown=rows["time_ms"] // 10**7))
    rank = RelativeFeature("length_rank", "item", of="length")
    given = schema()
    given = dataclasses.replace(
        given, features=(*given.features, rank), list_key=("user_id", "shown")
    )
    job, _ = small_job(tmp_path / "ranker", tmp_path / "logs", schema=given)
    assert [outcome.status for outcome in job.backfill(FIRST, SECOND)] == 2 * ["published"]
    drifted = {finding["what"] for finding in job.versions.metrics(2)["findings"]}
    assert "length_rank" in drifted


def changed(**parts):
    return {"schema": dataclasses.replace(schema(), **parts)}


LIKED = BinaryTask("like", observed_when="click", entire_space=True)


@pytest.mark.parametrize(
    ("changes", "what", "now", "before"),
    [
        (changed(tasks=[BinaryTask("click"), LIKED]), "tasks.like.entire_space", True, "not there"),
        (
            changed(features=schema().features[:2]),
            "features.length.type",
            "not there",
            "NumericFeature",
        ),
        (changed(list_key=("day",)), "schema.list_key", r"\['day'\]", "not there"),
        ({"model": {"name": "FM", "arguments": {"dim": 8}}}, "model.arguments.dim", 8, 4),
        ({"model": {"name": "DCNv2", "arguments": {"dim": 4}}}, "model.name", "DCNv2", "FM"),
    ],
)
def test_what_a_version_can_not_go_on_with_needs_a_folder(go_on, changes, what, now, before):
    job, _ = go_on(**changes)
    message = f"`{what}` is {now} in the configuration and {before} in version 2, .* Give such"
    with pytest.raises(DailyError, match=message) as raised:
        job.run(THIRD)
    assert raised.value.code == 2 and job.versions.serving.number == 2


def test_a_day_after_a_first_one_that_was_kept_back_is_checked(tmp_path, untrained):
    rows = day_frame(0)
    write_day(tmp_path / "logs", FIRST, rows)
    strict, _ = small_job(tmp_path / "r", tmp_path / "logs", gate={"floors": {"click": 0.999}})
    assert strict.run(FIRST).status == "kept"
    job, _ = small_job(tmp_path / "r", tmp_path / "logs")
    for second in (rows, day_frame(1).assign(time_ms=rows["time_ms"] - 86_400_000)):
        write_day(tmp_path / "logs", SECOND, second)
        with pytest.raises(DailyError, match=f"are older than .*, the newest row of {FIRST}"):
            job.run(SECOND)
    write_day(tmp_path / "logs", SECOND, day_frame(1))
    assert job.run(SECOND).status == "published"
    assert [*job.versions.serving.data] == [FIRST, SECOND]


def test_lists_on_both_sides_of_what_is_held_out_are_whole(tmp_path, untrained, monkeypatch):
    """Against ranks that pandas computes of all days at once."""
    given = schema()
    shown_before = CountFeature("shown_before", "item", keys=("video_id",))
    ranks = [RelativeFeature(f"{of}_rank", "item", of=of) for of in ("length", "shown_before")]
    given = dataclasses.replace(
        given, features=(*given.features, shown_before, *ranks), list_key=("user_id", "shown")
    )
    days = []
    for number in range(3):
        rows = day_frame(number)
        days.append(rows.assign(shown=rows["time_ms"] // (6 * 3_600_000)))
        write_day(tmp_path / "logs", day_name(number), days[-1])
    log, seen = pd.concat(days, ignore_index=True), []
    log["shown_before"] = log.groupby("video_id")["time_ms"].rank(method="min") - 1

    def with_past(*arguments):
        seen.append(day_data.with_past(*arguments))
        return seen[-1]

    monkeypatch.setattr("keras_infnet.daily.run.with_past", with_past)
    job, _ = small_job(tmp_path / "ranker", tmp_path / "logs", schema=given)
    job.backfill(FIRST, THIRD)
    lists = log.groupby(["user_id", "shown"])
    for start, found in zip((0, 300, 700), seen, strict=True):
        of_log = log.iloc[start : start + len(found)]
        for of in ("length", "shown_before"):
            places, sizes = lists[of].rank(), lists[of].transform("count")
            expected = ((places - 1) / (sizes - 1)).where(sizes > 1, 0.5).loc[of_log.index]
            np.testing.assert_allclose(found[f"{of}_rank"], expected, atol=1e-6)
    # Some lists are on both sides.
    both = [{*zip(*(log[k][part] for k in ("user_id", "shown")), strict=True)}
            for part in (slice(0, 299), slice(300, 399))]  # fmt: skip
    assert both[0] & both[1]


def test_pages_of_failures_go_when_the_day_is_done(go_on, monkeypatch):
    job, _ = go_on()
    runs = job.versions.folder / "runs"
    with pytest.raises(DailyError):
        job.rollback(9)
    with monkeypatch.context() as patched:
        patched.setattr(Versions, "enter", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(DailyError, match="stage `publish`"):
            job.run(THIRD)
    assert {p.stem for p in runs.glob("failed-*")} == {"failed-rollback", f"failed-{THIRD}"}
    assert job.run(THIRD).status == "unchanged"
    job.rollback(1)
    assert not [*runs.glob("failed-*")] and "failed" not in (
        job.versions.folder / "index.html"
    ).read_text("utf-8")


def test_the_same_day_with_the_same_rows_changes_nothing(go_on):
    job, _ = go_on()
    before = contents(job.versions.folder)
    for day, number in ((SECOND, 2), (FIRST, 1)):
        outcome = job.run(day)
        assert (outcome.status, outcome.number, outcome.code) == ("unchanged", number, 0)
    assert contents(job.versions.folder) == before


def test_late_files_of_the_last_day_are_a_new_version_that_begins_where_the_day_began(go_on):
    job, _ = go_on()
    write_day(go_on.logs, SECOND, day_frame(1, rows=60, seed=1), "late", is_csv=True)
    outcome = job.run(SECOND)
    assert (outcome.status, outcome.number) == ("published", 3)
    third = job.versions.serving
    assert (third.base, third.parent, third.day) == (1, 2, SECOND)
    assert third.rows == {"day": 460, "train": 445, "holdout": 115}


def test_a_day_that_was_kept_back_is_trained_on_by_the_next(go_on):
    strict, _ = go_on(gate={"floors": {"click": 0.999}})
    for day, number in ((THIRD, 3), (FOURTH, 4)):
        outcome = strict.run(day)
        assert (outcome.status, outcome.number, outcome.code) == ("kept", number, 4)
        assert "auc of task `click` is 0." in outcome.reason and "floor" in outcome.reason
        assert strict.versions.serving.number == 2
    again = strict.run(FOURTH)
    assert (again.status, again.number, again.code) == ("unchanged", 4, 4)
    job, _ = go_on()
    outcome = job.run(FOURTH)
    fifth = job.versions.serving
    assert (outcome.status, fifth.number, fifth.base) == ("published", 5, 2)
    assert [*fifth.data] == [THIRD, FOURTH]
    assert fifth.rows == {"day": 400, "train": 100 + 400 + 300, "holdout": 100}
    assert not (strict.versions.serving_folder / "4").exists()


def test_a_rollback_is_a_new_version_and_days_after_it_can_be_done_again(go_on):
    job, _ = go_on()
    job.run(THIRD)
    restored = job.rollback(1)
    assert (restored.number, restored.restores, restored.day) == (4, 1, FIRST)
    assert job.versions.serving == restored
    page = (job.versions.folder / "runs" / "4.html").read_text("utf-8")
    assert f"Version 4, {FIRST}" in page and "version 1 again, by a rollback" in page
    folder = job.versions.serving_folder
    same = [contents(folder / str(number)) for number in (1, 4)]
    assert same[0] == same[1]
    outcomes = job.backfill(SECOND, FOURTH)
    assert [o.number for o in outcomes] == [5, 6, 7]
    assert [v.base for v in job.versions.records()] == [None, 1, 2, None, 4, 5, 6]


def test_a_rollback_to_what_was_never_published_is_refused(go_on):
    job, _ = go_on(gate={"floors": {"click": 0.999}})
    job.run(THIRD)
    with pytest.raises(DailyError, match="`rollback`: version 3 was never published.*were 1, 2"):
        job.rollback(3)
    with pytest.raises(DailyError, match="version 9 can't be read"):
        job.rollback(9)
    assert job.versions.serving.number == 2


def frames(name):
    third, second = day_frame(2), day_frame(1)
    return {
        "no rows": third[:0],
        "yesterday's rows": second,
        "yesterday's times": third.assign(time_ms=second["time_ms"]),
        "another schema": third.rename(columns={"video_id": "item"}),
        "changed type": third.assign(video_id="v" + third["video_id"].astype("str")),
        "all null": third.assign(length=np.nan),
        "labels all 0": third.assign(click=0),
        "one time": third.assign(time_ms=third["time_ms"].max()),
    }[name]


@pytest.mark.parametrize(
    ("name", "stage", "text"),
    [
        ("no rows", "read", "there is no row"),
        ("yesterday's rows", "check", f"the log has the rows of {SECOND} again"),
        ("yesterday's times", "check", "are older than .*, the newest row of 2026-11-02"),
        ("another schema", "check", "column `video_id` is missing"),
        ("changed type", "check", "`video_id` holds .*string, of kind text"),
        ("all null", "check", "`length` is null in all 400 rows"),
        ("labels all 0", "check", "`click`.*all 400 observed labels are 0"),
        ("one time", "check", "all 400 rows are of one time"),
    ],
)
def test_a_log_that_is_refused_names_its_stage_and_changes_nothing(go_on, name, stage, text):
    job, events = go_on()
    before = contents(job.versions.folder / "versions"), contents(job.versions.serving_folder)
    write_day(go_on.logs, THIRD, frames(name))
    with pytest.raises(DailyError, match=f"stage `{stage}` of {THIRD}: .*{text}") as caught:
        job.run(THIRD)
    assert caught.value.code == 3
    assert (contents(job.versions.folder / "versions"), contents(job.versions.serving_folder)) == (
        before
    )
    assert job.versions.serving.number == 2
    page = (job.versions.folder / "runs" / f"failed-{THIRD}.html").read_text()
    assert f"stage {stage} failed" in page
    assert f"failed-{THIRD}.html" in (job.versions.folder / "index.html").read_text()
    if name == "no rows":
        # The right log ends it.
        write_day(go_on.logs, THIRD, day_frame(2))
        assert job.run(THIRD).status == "published"
        assert not (job.versions.folder / "runs" / f"failed-{THIRD}.html").exists()


def test_a_day_before_the_last_one_is_refused(go_on):
    job, _ = go_on()
    write_day(go_on.logs, FIRST, day_frame(0, rows=50, seed=3), "late")
    with pytest.raises(
        DailyError, match=f"`read` of {FIRST}: the day is before {SECOND}.*backfill"
    ):
        job.run(FIRST)
    with pytest.raises(DailyError, match="no Parquet or CSV file"):
        job.run("2026-10-31")


@pytest.mark.parametrize(
    ("where", "stage", "error", "text"),
    [
        ("train.fit_ranker", "train", FloatingPointError("the loss is nan"), "the loss is nan"),
        ("run.save_past", "write", OSError(errno.ENOSPC, "No space left"), "No space left"),
        ("run.export", "export", ValueError("the answers differ"), "the answers differ"),
    ],
)
def test_what_fails_leaves_what_serves(go_on, monkeypatch, error, text, where, stage):
    job, events = go_on()

    def fails(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(f"keras_infnet.daily.{where}", fails)
        with pytest.raises(DailyError, match=f"stage `{stage}` of {THIRD}: .*{text}") as caught:
            job.run(THIRD)
    assert caught.value.code == 1
    assert events[-1]["event"] == "failed" or events[-2]["event"] == "failed"
    assert job.versions.numbers() == [1, 2] and job.versions.serving.number == 2
    # The number was for this day and these rows, and no one has seen it.
    assert job.run(THIRD).number == 3


def test_a_training_curve_may_have_been_written_in_part(tmp_path):
    (tmp_path / "curve").write_text(
        '{"step": 1, "loss": 2}\n{"step": 2, "lo{"step": 3}\n{"step": 4}'
    )
    assert [point["step"] for point in _curve(tmp_path / "curve")] == [1, 4]


def test_two_jobs_at_once_are_refused(go_on):
    job, _ = go_on()
    with locked(job.versions.folder / "daily.lock", "taken"):
        with pytest.raises(DailyError, match="another job holds .*ranker") as caught:
            job.run(THIRD)
    assert caught.value.code == 5


@pytest.mark.parametrize("name", ["model.keras", "past/holdout.parquet", "encoder/schema.json"])
def test_a_version_damaged_by_hand_is_not_gone_on_from(go_on, name):
    job, _ = go_on()
    file = job.versions.path(2) / name
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(DailyError, match=f"`recover` of {THIRD}: .*version 2 is damaged: .*{name}"):
        job.run(THIRD)
    job.rollback(1)
    assert job.run(THIRD).number == 4


class Killed(BaseException):
    """As kill -9 does: nothing of the job handles it."""


STAGES = [
    "recover",
    "read",
    "check",
    "score",
    "grow",
    "train",
    "gate",
    "write",
    "export",
    "publish",
]


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_that_was_killed_ends_with_the_version_of_one_that_was_not(go_on, stage, done_third):
    job, _ = go_on()

    def log(event):
        if event["event"] == "stage" and event["stage"] == stage:
            raise Killed

    job._log = log
    with pytest.raises(Killed):
        job.run(THIRD)
    job, _ = go_on()
    outcome = job.run(THIRD)
    assert (outcome.number, job.versions.serving.number) == (3, 3)
    record = job.versions.record(3)
    assert {**record.files, "model.keras": ""} == {**done_third.files, "model.keras": ""}
    assert (record.base, record.data, record.reason) == (
        done_third.base, done_third.data, done_third.reason,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done_third(two_days, tmp_path_factory):
    """The record of the third day, undisturbed."""
    import shutil

    from tests.daily.conftest import untrained

    folder = tmp_path_factory.mktemp("done_third")
    shutil.copytree(two_days, folder / "copy")
    with pytest.MonkeyPatch.context() as patched:
        untrained.__wrapped__(patched)
        job, _ = small_job(folder / "copy" / "ranker", folder / "copy" / "logs")
        job.run(THIRD)
    return job.versions.record(3)
