"""Rows in another unit than the log saw the future and themselves."""

import itertools

import numpy as np
import pandas as pd
import pytest

from keras_infnet import RankingData
from keras_infnet.data import Batches, FeatureEncoder, Histories, prepare
from tests.cases.common_rows import START, log, schema, seen

pytestmark = pytest.mark.one_backend

NAIVE = "datetime64[ms]"


def _datetimes(times):
    return times.astype(NAIVE)


FORMS = {
    "s": lambda times: times // 1000,
    "ms": lambda times: times,
    "us": lambda times: times * 10**3,
    "ns": lambda times: times * 10**6,
    "Int64": lambda times: times.astype("Int64"),
    "float": lambda times: times.astype("float64"),
    "datetime64[s]": lambda times: _datetimes(times).astype("datetime64[s]"),
    "datetime64[ms]": _datetimes,
    "datetime64[us]": lambda times: _datetimes(times).astype("datetime64[us]"),
    "datetime64[ns]": lambda times: _datetimes(times).astype("datetime64[ns]"),
    "zone": lambda times: _datetimes(times).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    "arrow": lambda times: _datetimes(times).astype("timestamp[us][pyarrow]"),
    "arrow zone": lambda times: (
        _datetimes(times).dt.tz_localize("UTC").astype("timestamp[ns, America/New_York][pyarrow]")
    ),
    "objects": lambda times: pd.Series(list(_datetimes(times)), times.index, dtype=object),
    "category": lambda times: _datetimes(times).astype("category"),
}
# Videos and ages in seconds of the four rows of a user, by hand.
RIGHT = [
    [],
    [(10, 1)],
    [(10, 2), (11, 1)],
    [(10, 3), (11, 2), (12, 1)],
    [],
    [(10, 1)],
    [(10, 2), (11, 1)],
    [(10, 3), (11, 2), (14, 1)],
]


def in_form(frame, form):
    return frame.assign(time_ms=FORMS[form](frame.time_ms))


@pytest.mark.parametrize(("of_log", "of_rows"), list(itertools.product(FORMS, FORMS)))
def test_a_log_and_rows_of_any_two_forms_are_the_same_instants(of_log, of_rows):
    assert seen(in_form(log(), of_log), in_form(log(), of_rows)) == RIGHT


@pytest.mark.parametrize(("of_log", "of_earlier"), list(itertools.product(FORMS, FORMS)))
def test_earlier_events_of_any_form_are_the_same_instants(of_log, of_earlier):
    before = log()[:2].assign(time_ms=lambda rows: rows.time_ms - 10_000)
    found = seen(in_form(log(), of_log), log()[:1], {"seen": in_form(before, of_earlier)})
    assert found == [[(10, 10), (11, 9)]]


FREEZES = [
    (START + 2500) // 1000,
    START + 2500,
    np.int64(START + 2500) * 1000,
    (START + 2500) * 10**6,
    pd.Timestamp(START + 2500, unit="ms"),
    pd.Timestamp(START + 2500, unit="ms", tz="UTC").tz_convert("Asia/Tokyo"),
    pd.Timestamp(START + 2500, unit="ms").to_pydatetime(),
    np.datetime64(START + 2500, "ms"),
    np.datetime64((START + 2500) * 10**6, "ns"),
    "2023-11-14 22:13:22.500",
    "2023-11-15T07:13:22.500+09:00",
]
FROZEN = [row[:2] for row in RIGHT]


@pytest.mark.parametrize("form", FORMS)
def test_freeze_at_of_any_form_cuts_at_the_same_instant(form):
    shifted = in_form(log(), form)
    for freeze_at in FREEZES:
        # In whole seconds it is half a second earlier, between the same two events or at the later.
        right = [row[:1] for row in RIGHT] if freeze_at == FREEZES[0] else FROZEN
        assert seen(shifted, shifted, freeze_at=freeze_at) == right, freeze_at


@pytest.mark.parametrize("form", FORMS)
def test_parts_warm_events_and_folders_of_any_form_are_the_same(form, tmp_path):
    shifted = in_form(log(), form)
    warm = log()[:1].assign(time_ms=START - 5000, video_id=77)
    for boundary in (START + 3000, (START + 3000) // 1000, "2023-11-14 22:13:23"):
        data = RankingData(schema(), shifted, test=boundary, warm=warm, freeze_at="part")
        assert data.rows == {"train": 4, "test": 4}
        found = data.attach("test")
        assert found.seen_video_id.map(list).tolist() == [[77, 10, 11]] * 2 + [[10, 11]] * 2
        assert found.seen_age_seconds.map(list).tolist() == [[8, 2, 1], [9, 3, 2], [2, 1], [3, 2]]
    data.save(tmp_path / "data")
    loaded = RankingData.load(tmp_path / "data")
    assert loaded.attach("test").seen_age_seconds.map(list).tolist()[0] == [8, 2, 1]
    out, splits = tmp_path / "log", {"train": boundary, "test": None}
    encoder = prepare(schema(), shifted, out, splits=splits, verbose=False)
    right = Batches.from_rows(encoder, log()[2:4], Histories(encoder, log()))
    (expected,) = right.as_numpy_iterator()
    (rows,) = Batches.from_folder(encoder, out, "test").as_numpy_iterator()
    for name in ("seen", "seen_age"):
        np.testing.assert_array_equal(rows[0][name][:2], expected[0][name])
    frozen = RankingData.open(out, freeze_at="part").test
    (rows,) = frozen.as_numpy_iterator()
    assert (rows[0]["seen_age"] > 0).sum(1).tolist() == [2, 2, 2, 2]


def test_frames_of_another_unit_are_parts_of_the_log():
    inside = in_form(log()[2:4], "us")
    assert RankingData(schema(), log(), test=inside).rows == {"train": 6, "test": 2}
    more = in_form(log()[2:4], "s").set_axis([100, 101])
    for frame in (more, in_form(log()[2:4], "zone").set_axis([100, 101])):
        data = RankingData(schema(), log()[:2], test=frame)
        assert data.attach("test").seen_age_seconds.map(list).tolist() == [[2, 1], [3, 2, 1]]


MIXED = "found times of several units, such as 1700000001 .s. and 1700000004000 .ms.. Convert them"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.where(t.index > 0, t // 1000), MIXED),
        (lambda t: t - START, "found 1000, which is no time from 1990 to 2100 in s, ms, us or ns"),
        (lambda t: pd.Series(20231114, t.index), "found 20231114, which is no time from 1990"),
        (
            lambda t: pd.to_datetime(t // 1000),
            r"found datetimes, of which .* .1970-01-01. is not",
        ),
        (lambda t: t.astype(str), "found values of type .*string; expected datetimes, or integers"),
        (lambda t: t + 0.5, "found values of type double with a fraction, or of 2..53 or more"),
        (lambda t: t * 1e6, "found values of type double with a fraction, or of 2..53 or more"),
        (lambda t: t > 0, "found values of type bool; expected datetimes, or integers of seconds"),
        (lambda t: t.astype("Int64").mask(t.index == 3), "has 1 missing values; "),
        (lambda t: pd.to_datetime(t, unit="ms").mask(t.index < 2), "has 2 missing values"),
    ],
)
def test_implausible_times_name_column_value_and_remedy(change, message):
    wrong = log().assign(time_ms=change(log().time_ms))
    message = f"column `time_ms`:? {message}"
    with pytest.raises(ValueError, match=message):
        seen(wrong, log())
    with pytest.raises(ValueError, match=message):
        seen(log(), wrong)
    with pytest.raises(ValueError, match=message):
        seen(log(), log(), {"seen": wrong})
    with pytest.raises(ValueError, match="earlier `seen`: column `time_ms`"):
        seen(log(), log(), {"seen": wrong})
    with pytest.raises(ValueError, match=message):
        RankingData(schema(), wrong, test=START + 3000)


def test_the_unit_that_was_found_is_said():
    for form, unit in {"s": "s", "ns": "ns", "float": "ms", "datetime64[us]": "us"}.items():
        rows = in_form(log(), form)
        assert Histories(FeatureEncoder(schema()).fit(rows), rows).time_unit == unit


def test_prepare_refuses_times_before_it_spools_them(tmp_path):
    wrong = log().assign(time_ms=log().time_ms - START)
    with pytest.raises(ValueError, match="frame 0, rows 0 to 7: column `time_ms`: found 1000, whi"):
        prepare(schema(), wrong, tmp_path / "log", verbose=False)
    assert not list(tmp_path.rglob("*.arrow"))
    frames = [log()[:4], in_form(log()[4:], "s")]
    with pytest.raises(ValueError, match="rows 4 to 7: column `time_ms` holds integers of s, but"):
        prepare(schema(), frames, tmp_path / "log", verbose=False)
    with pytest.raises(ValueError, match="prepare: the end of split `train` is 3: found 3, which"):
        prepare(schema(), log(), tmp_path / "log", splits={"train": 3, "test": None})


def test_a_declared_unit_and_a_clock_of_no_origin():
    toy = log().assign(time_ms=log().time_ms - START)
    clock = {"time_unit": "ms", "time_origin": None}
    assert seen(toy, toy, **clock) == RIGHT
    assert seen(toy, toy, freeze_at=2500, **clock) == FROZEN
    ticks = log().assign(time_ms=(log().time_ms - START) // 1000)
    assert seen(ticks, ticks, time_unit="s", time_origin=None) == RIGHT
    data = RankingData(schema(time_unit="s", time_origin=None), ticks, test=3, freeze_at="part")
    assert data.attach("test").seen_age_seconds.map(list).tolist() == [[2, 1], [3, 2]] * 2
    seconds = in_form(log(), "s")
    assert seen(seconds, in_form(log(), "zone"), time_unit="s") == RIGHT
    with pytest.raises(ValueError, match="integers of the declared unit s, of which .* is not"):
        seen(seconds, log(), time_unit="s")
    with pytest.raises(ValueError, match="time_unit is 'sec'; expected one of"):
        schema(time_unit="sec")
    with pytest.raises(ValueError, match="time_origin is 'zero'; expected one of"):
        schema(time_origin="zero")
    with pytest.raises(ValueError, match="time_origin=None needs a `time_unit`"):
        schema(time_origin=None)


def test_the_clock_is_part_of_a_schema_where_it_is_declared(tmp_path):
    plain = schema().to_dict()
    assert "time_unit" not in plain and "time_origin" not in plain
    declared = schema(time_unit="s", time_origin=None)
    assert declared.fingerprint != schema().fingerprint
    assert declared.from_dict(declared.to_dict()) == declared
    FeatureEncoder(declared).fit(log()).save(tmp_path / "encoder")
    assert FeatureEncoder.load(tmp_path / "encoder").schema.time_origin is None
