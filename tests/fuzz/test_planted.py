"""Planted faults, each in one function of the package: a short run of the fuzz finds each."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet import Age, CategoricalFeature, DateTimeFeature, NumericFeature
from keras_infnet.data import Histories, Vocabulary, batches, histories
from keras_infnet.encoding import graph, labels
from tests.fuzz.cases import make_case
from tests.fuzz.ways import run

pytestmark = pytest.mark.one_backend
SEEDS, MOST_CASES = 150, 40


def ids_through_floats(values):
    def merged(self, series, dtype, label):
        found = values(self, series, dtype, label)
        if self.is_bag or dtype != "int":
            return found
        return pa.array(np.asarray(found).astype("float64").astype("int64"))

    return merged


def another_separator(values):
    def split(self, series, dtype, label):
        if self.separator is not None:
            self = dataclasses.replace(self, separator=";")
        return values(self, series, dtype, label)

    return split


def missing_is_0(values):
    return lambda *args: pa.array(np.nan_to_num(np.asarray(values(*args))))


def zone_dropped(values):
    def local(self, series, dtype, label):
        if isinstance(series.dtype, pd.DatetimeTZDtype):
            series = series.dt.tz_localize(None)
        return values(self, series, dtype, label)

    return local


def shifted(learn):
    def rolled(*args, **kwargs):
        found = learn(*args, **kwargs)
        values = found.values.to_pylist()
        return Vocabulary(values[1:] + values[:1], found.oov_buckets, found.dtype)

    return rolled


def ages_in_milliseconds(of_time):
    def difference(self, row_times, event_times):
        return row_times - event_times

    return difference


def events_in_seconds(newest):
    return lambda users, times, *rest: newest(users, times // 1000, *rest)


def same_millisecond(newest):
    return lambda u, t, users, times, length: newest(u, t, users, times + 1, length)


def one_event_less(newest):
    return lambda u, t, users, times, length: newest(u, t, users, times, length - 1)


def users_merged(codes):
    return lambda self, frame: codes(self, frame) // 2


def newest_first(gather):
    def turned(schema, name, *args):
        found = gather(schema, name, *args)
        return {key: values[:, ::-1] for key, values in found.items()}

    return turned


def never_frozen(frozen):
    return lambda times, users, freeze_at, time_key: times


def all_observed(observed):
    return lambda task, frame: np.ones(len(frame), bool)


def oldest_served(newest):
    return lambda tf, columns, length: newest(tf, columns[:, :-1], length)


def has_history(case):
    return bool(case.schema.histories)


def holds(kind, wanted):
    """Whether the log has such a value in a feature of a kind."""

    def may_show(case):
        names = [f.name for f in case.schema.features if isinstance(f, kind)]
        return any(wanted(v) for name in names for v in case.log[name].means or ())

    return may_show


def has_zone(case):
    dates = {f.name for f in case.schema.features if isinstance(f, DateTimeFeature)}
    return any(side[n].look.startswith("zone") for side in case.sides.values() for n in dates)


def is_frozen(case):
    return case.freeze_at is not None


# Where a fault is planted, and in which cases it may show.
FAULTS = {
    ids_through_floats: (
        CategoricalFeature,
        "values",
        holds(CategoricalFeature, lambda v: isinstance(v, int) and int(float(v)) != v),
    ),
    another_separator: (CategoricalFeature, "values", lambda case: len(case.schema.bags) > 0),
    missing_is_0: (NumericFeature, "values", holds(NumericFeature, lambda v: v is None)),
    zone_dropped: (DateTimeFeature, "values", has_zone),
    shifted: (Vocabulary, "learn", has_history),
    ages_in_milliseconds: (Age, "of_time", has_history),
    events_in_seconds: (histories, "newest_before", has_history),
    same_millisecond: (histories, "newest_before", has_history),
    one_event_less: (histories, "newest_before", has_history),
    users_merged: (Histories, "user_codes", has_history),
    newest_first: (batches, "gather_windows", has_history),
    never_frozen: (histories, "frozen_times", is_frozen),
    all_observed: (labels, "observed_rows", lambda case: len(case.schema.tasks) > 1),
    oldest_served: (graph, "_newest", has_history),
}


@functools.cache
def drawn():
    return [make_case(seed) for seed in range(SEEDS)]


def failure(case):
    """What fails in a case, if anything does."""
    outcome = run(case)
    return outcome.what if outcome.kind == "failed" else None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault, monkeypatch):
    owner, name, may_show = FAULTS[fault]
    cases = [case for case in drawn() if may_show(case)][:MOST_CASES]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault(getattr(owner, name)))
        found = next((case for case in cases if failure(case)), None)
    assert found is not None
    assert failure(found) is None
