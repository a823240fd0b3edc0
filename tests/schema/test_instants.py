import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from keras_infnet.schema.instants import Instants

FORMS = {
    "%y%m%d%H%M": ("yymmddHHMM", 10, "s"),
    "%Y%m%d%H": ("yyyymmddHH", 10, "s"),
}


def written(times, form):
    return pd.Series(pd.to_datetime(times, unit="s").strftime(form).astype("int64"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("days", [[20_750.51], [20_750.51, 20_751.03, 20_900.9]])
def test_times_written_in_digits_are_refused_by_how_they_are_written(form, days):
    """In 2026 they pass as seconds of a year to come."""
    times = written(np.array(days) * 86_400, form)
    shown, digits, unit = FORMS[form]
    with pytest.raises(ValueError, match=rf"c: found .*{shown}.*zfill\({digits}\).*{form}") as e:
        Instants().of_column(times, "c")
    assert f"declare `time_unit='{unit}'`" in str(e.value)
    # Who declares the unit means it.
    declared = Instants(unit=unit).of_column(times, "c")
    np.testing.assert_array_equal(declared, times.to_numpy() * 1000)
    with pytest.raises(ValueError, match=f"freeze_at is .*{shown}"):
        Instants().of_value(int(times[0]), "freeze_at")


def test_many_dates_of_the_past_written_in_digits_are_refused():
    """yymmddHHMM of 2008 to 2017 are seconds of the past."""
    seconds = np.random.default_rng(0).integers(1_200_000_000, 1_500_000_000, 30)
    with pytest.raises(ValueError, match="yymmddHHMM"):
        Instants().of_column(written(seconds, "%y%m%d%H%M"), "c")


@pytest.mark.parametrize("per", [1, 1000])
@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    start=st.integers(631_152_000, 1_790_000_000),
    steps=st.lists(
        st.sampled_from([1, 7, 60, 100, 600, 3600, 86_400]) | st.integers(1, 100_000),
        min_size=19,
        max_size=40,
    ),
)
def test_true_times_since_1970_are_never_refused(per, start, steps):
    seconds = start + np.cumsum([0, *steps])
    found = Instants().of_column(pd.Series(seconds * per), "c")
    np.testing.assert_array_equal(found, seconds * 1000)


def test_a_few_times_of_the_past_may_read_so_by_chance():
    # 2023-11-26: as digits 2017-01-01 00:00 to 00:59.
    seconds = 1_701_010_000 + np.arange(60)
    np.testing.assert_array_equal(Instants().of_column(pd.Series(seconds), "c"), seconds * 1000)
