import pytest

from keras_infnet.search.clock import Clock, clock_text, parse_budget
from keras_infnet.search.folder import SearchFolder

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("20", 20), (7, 7)]
)
def test_budgets_are_read_in_their_units(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3m", "0"])
def test_a_budget_that_is_none_is_an_error_that_shows_it(text):
    with pytest.raises(ValueError, match=f"budget is '{text}'; expected seconds"):
        parse_budget(text)


def test_a_trial_is_begun_only_if_the_median_one_would_end_in_time(tmp_path):
    records = SearchFolder(tmp_path)
    for trial, seconds in enumerate([10.0, 500.0, 30.0]):
        records.begin(str(trial), {})
        ended = {"status": "finished", "seconds": seconds, "elapsed_seconds": 100.0 + trial}
        records.note(str(trial), ended)
    assert Clock(records, 102 + 40).has_room()
    assert not Clock(records, 102 + 25).has_room()
    assert Clock(records).has_room()


def test_durations_are_shown_as_a_clock():
    assert clock_text(65) == "1:05"
    assert clock_text(3725) == "1:02:05"
