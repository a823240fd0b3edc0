import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet.daily import DailyError
from keras_infnet.daily.day_log import days_between, fingerprint, read_day
from tests.daily.small_job import day_frame, day_name, schema, write_day

pytestmark = pytest.mark.one_backend
DAY = day_name(0)


def test_a_fingerprint_is_of_the_rows_and_not_of_their_files(tmp_path):
    frame = day_frame(0, rows=20)
    write_day(tmp_path / "one", DAY, frame)
    for part, rows in enumerate((frame[:7], frame[7:])):
        write_day(tmp_path / "two", DAY, rows.assign(other="x"), f"part-{part}")
    first, second = (
        read_day(schema(), f"{tmp_path}/{name}/{{day}}", DAY) for name in ("one", "two")
    )
    assert first.fingerprint == second.fingerprint
    assert first.kinds["video_id"] == first.kinds["time_ms"] == "number"
    write_day(tmp_path / "two", DAY, frame[:1], "late")
    assert read_day(schema(), f"{tmp_path}/two/{{day}}", DAY).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1, 2]}, {"b": [1, 2]}),
        ({"a": [1, 2]}, {"a": [1.0, 2.0]}),
        ({"a": [1, None]}, {"a": [1, 0]}),
        ({"a": ["x", "yz"]}, {"a": ["xy", "z"]}),
    ],
)
def test_fingerprints_differ_where_a_value_does(one, other):
    assert fingerprint(pa.table(one)) != fingerprint(pa.table(other))
    assert fingerprint(pa.table(one)) == fingerprint(pa.concat_tables([pa.table(one)] * 2)[:2])


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda folder: None, "no Parquet or CSV file .*2026-11-01"),
        (lambda folder: write_day(folder, DAY, day_frame(0)[:0]), "there is no row"),
        (lambda folder: write_day(folder, DAY, day_frame(0)[:0], is_csv=True), "there is no row"),
        (lambda folder: damaged(folder), "can't be read as Parquet.*write it again"),
    ],
)
def test_a_log_that_is_not_there_is_said(tmp_path, write, text):
    write(tmp_path)
    with pytest.raises(DailyError, match=f"stage `read` of {DAY}: .*{text}") as caught:
        read_day(schema(), f"{tmp_path}/{{day}}", DAY)
    assert caught.value.code == 3


def damaged(folder):
    write_day(folder, DAY, day_frame(0))
    file = folder / DAY / "log.parquet"
    file.write_bytes(file.read_bytes()[:-10])


def test_days_follow_one_another():
    assert days_between("2026-11-29", "2026-12-01") == ["2026-11-29", "2026-11-30", "2026-12-01"]
    with pytest.raises(DailyError, match="expected the earlier first"):
        days_between("2026-11-02", "2026-11-01")
    for day in ("2026-11-31", "29.11.2026", "20261129", pd.Timestamp("2026-11-29")):
        with pytest.raises(DailyError, match="expected one such as '2026-11-29'") as caught:
            days_between(day, "2026-12-01")
        assert caught.value.code == 2
