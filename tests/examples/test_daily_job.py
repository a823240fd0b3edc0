"""The example of the daily job on two days of few rows, and on arguments that are wrong."""

import contextlib
import importlib
import io
import re
import sys

import pandas as pd
import pytest

from keras_infnet.daily import DailyJob
from tests.daily.conftest import made_up_export
from tests.house.source import ROOT

# What it calls is tested on either backend, each by its own tests.
pytestmark = pytest.mark.one_backend

FIRST, SECOND = "2026-11-01", "2026-11-02"


@pytest.fixture(scope="module")
def example():
    """In this process: starting one takes seconds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "examples")
        return importlib.import_module("daily_job")


@pytest.fixture(scope="module")
def two_days(example, tmp_path_factory):
    out, printed = tmp_path_factory.mktemp("runs") / "daily", io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed):
        patched.setattr("keras_infnet.daily.run.export", made_up_export)
        example.daily_job(out, days=2, rows=2000)
    return out, printed.getvalue()


def test_a_broken_day_is_rolled_back_and_done_again(two_days):
    out, printed = two_days
    job = DailyJob(out / "daily.json")
    first, broken, again, mended = job.versions.records()
    assert [first.day, broken.day, again.day, mended.day] == [FIRST, SECOND, FIRST, SECOND]
    assert (again.restores, mended.base, mended.parent) == (1, 3, 3)
    assert broken.data[SECOND] != mended.data[SECOND]
    assert job.versions.serving.number == 4
    assert (job.versions.serving_folder / "4" / "saved_model.pb").is_file()
    assert f"{SECOND}  strange: `click`" in printed
    assert "Version 3 is version 1 again." in printed
    assert f"\nVersion 4, of {SECOND}, serves." in printed
    assert len(re.findall("rows with new ids: 0[.]", printed)) == 2


def test_videos_come_and_go(two_days):
    first, second = (
        set(pd.read_parquet(two_days[0] / "logs" / f"{day}.parquet")["video_id"])
        for day in (FIRST, SECOND)
    )
    assert min(first) < 40 <= min(second) and max(first) < 120 <= max(second)
    assert len(first & second) > 40


def test_the_page_that_it_names_links_to_those_of_all_versions(two_days):
    out, printed = two_days
    (page,) = re.findall("page of all versions is (.*)", printed)
    assert page == str(out / "ranker" / "index.html")
    text = (out / "ranker" / "index.html").read_text("utf-8")
    for number in (1, 2, 4):
        assert f'href="runs/{number}.html"' in text
        assert (out / "ranker" / "runs" / f"{number}.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--days", "1"], "--days must be 2 or more"),
        (["--out", str(ROOT / "docs")], "docs is not empty; choose another folder"),
    ],
)
def test_a_mistake_ends_with_one_line(example, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["daily_job.py", *arguments])
    with pytest.raises(SystemExit):
        example.main()
    assert message in capsys.readouterr().err
