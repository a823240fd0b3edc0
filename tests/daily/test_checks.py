import re

import numpy as np
import pytest

from keras_infnet.daily.checks import Before, check_rows, label_rates, missing_shares
from keras_infnet.daily.config import ChecksPart
from keras_infnet.daily.day_log import DayLog, fingerprint, frame_of, table_of
from tests.daily.small_job import day_frame, day_name, schema

pytestmark = pytest.mark.one_backend


def log_of(frame, number=1):
    table = table_of(frame)
    return DayLog(day_name(number), table, fingerprint(table))


def before(frame):
    log = log_of(frame, 0)
    return Before(
        log.kinds,
        missing_shares(schema(), frame),
        label_rates(schema(), frame),
        int(frame["time_ms"].max()),
        log.day,
    )


def found(frame, known=None, **limits):
    log = log_of(frame)
    findings = check_rows(schema(), log, frame_of([log.table]), known, ChecksPart(**limits))
    return [finding for finding in findings if finding.level != "fine"]


FIRST, SECOND = day_frame(0), day_frame(1)


def test_a_day_like_the_one_before_is_fine():
    assert found(SECOND, before(FIRST)) == []
    assert found(FIRST) == []


@pytest.mark.parametrize(
    ("change", "check", "text"),
    [
        (lambda f: f.rename(columns={"video_id": "vdeo_id"}), "columns", "`video_id` is missing"),
        (lambda f: f.drop(columns="like"), "columns", "`like` is missing"),
        (
            lambda f: f.assign(video_id="v" + f["video_id"].astype("str")),
            "types",
            "`video_id` holds .*string, of kind text; on the days before it was of kind number",
        ),
        (
            lambda f: f.assign(seen_before=1.0),
            "columns",
            "`seen_before` is there; on the days before it was not.*on all days, or on none",
        ),
        (lambda f: f.assign(seen_video_id=[[1]] * len(f)), "columns", "`seen_video_id` is there"),
        (
            lambda f: f.assign(length=np.nan),
            "missing",
            "`length` is null in all 400 rows; on the days before it was in 0.0% of them",
        ),
        (lambda f: f.assign(click=0), "labels", "all 400 observed labels are 0.*feedback"),
        (lambda f: f.assign(like=1), "labels", "`like`.*labels are 1"),
        (lambda f: f.assign(click=f["click"] * 2), "values", "neither 0 nor 1"),
        (lambda f: f.assign(click=f["click"].where(f.index > 3)), "values", "click"),
        (lambda f: f.assign(video_id=f["video_id"] + 0.5), "values", "`video_id`"),
        (lambda f: f.assign(time_ms=f["time_ms"] // 10**6), "values", "time_ms"),
        (
            lambda f: f.assign(time_ms=FIRST["time_ms"]),
            "times",
            "of 400 rows are older than .*newest row of 2026-11-01.*earlier day",
        ),
        (lambda f: f.iloc[np.arange(len(f)) // 3], "duplicates", "0.665 of the rows equal"),
    ],
)
def test_what_is_wrong_is_refused_by_name(change, check, text):
    refused = [f for f in found(change(SECOND), before(FIRST)) if f.level == "refused"]
    assert [f.check for f in refused] == [check] * len(refused) and refused
    assert re.search(text, refused[0].text), refused[0].text


def test_columns_that_are_computed_may_not_go():
    listed = FIRST.assign(seen_before=1.0)
    refused = [f.text for f in found(SECOND, before(listed)) if f.level == "refused"]
    assert len(refused) == 1 and "`seen_before` is missing; on the days before it was" in refused[0]
    assert found(SECOND.assign(seen_before=1.0), before(listed)) == []


def test_what_is_strange_is_said_and_refused_where_a_limit_says_so():
    rare = SECOND.assign(click=(np.arange(400) < 40).astype("int64"), like=SECOND["like"])
    strange = found(rare, before(FIRST))
    assert [(f.check, f.what, f.level) for f in strange] == [("label_rate", "click", "strange")]
    assert strange[0].value == pytest.approx(FIRST["click"].mean() / 0.1)
    refused = found(rare, before(FIRST), refuse={"label_rate": 2.0})
    assert [f.level for f in refused] == ["refused"]
    assert "checks.refuse.label_rate is 2." in refused[0].text
    gaps = SECOND.assign(length=SECOND["length"].where(SECOND.index > 99))
    assert found(gaps, before(FIRST)) == []
    (missing,) = found(gaps, before(FIRST), warn={"missing": 0.2})
    assert missing.value == 0.25
    (few,) = found(SECOND[:300], before(FIRST), min_rows=301)
    assert "the log has 300 rows; expected checks.min_rows=301" in few.text
