"""Faults that are planted in the daily job are found by a few of the fuzz's cases."""

from collections.abc import Iterator

import pytest

from keras_infnet.daily import day_data
from tests.fuzz.cases import Case, make_case
from tests.fuzz.daily_way import as_days, run_days
from tests.fuzz.ways import run

pytestmark = pytest.mark.one_backend
SEEDS = range(1000, 1100)


def with_past() -> Iterator[Case]:
    """Cases of two days whose rows have a past."""
    for case in map(make_case, SEEDS):
        if as_days(case) and (case.schema.histories or case.schema.past):
            yield case


@pytest.fixture(scope="module")
def case():
    """One that can be two days, and has a history and a feature of the past."""
    for found in with_past():
        if found.schema.histories and found.schema.past and run_days(found):
            return found
    raise AssertionError("no case has both")


def test_a_case_that_is_two_days_says_so(case):
    assert "daily" in run(case, days=True).ways


def test_a_past_that_lacks_rows_is_found(case, monkeypatch):
    def save_half(folder, encoder, rows, train, *rest):
        return day_data.save_past(folder, encoder, rows, train & (rows.index % 2 == 0), *rest)

    monkeypatch.setattr("keras_infnet.daily.run.save_past", save_half)
    outcome = run(case, days=True)
    assert outcome.kind == "failed" and "days: " in outcome.what


def test_a_refusal_without_reason_is_a_failure(case, monkeypatch):
    def refused(*_):
        raise ValueError("column `nothing` is missing")

    monkeypatch.setattr("keras_infnet.daily.run.check_rows", refused)
    outcome = run(case, days=True)
    assert outcome.kind == "failed" and "a day failed: daily, stage `check`" in outcome.what
