"""Planted faults, each in one function of the package: a short run of the fuzz finds each."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet import Age, CategoricalFeature, DateTimeFeature, FeatureSchema, NumericFeature
from keras_infnet.data import Histories, Vocabulary, batches, histories, rates
from keras_infnet.data.unknown_ids import UnknownIds
from keras_infnet.encoding import actions, graph, labels
from keras_infnet.models.tokens import EventPositions
from keras_infnet.schema.age_within import AgeWithin
from keras_infnet.schema.past import PastFeature
from tests.fuzz.cases import make_case
from tests.fuzz.ways import run

pytestmark = pytest.mark.one_backend
SEEDS, MOST_CASES = 350, 40


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
    return lambda times, *rest: times


def frozen_rates_roll_on(frozen):
    return lambda times, *rest: times


def windows_ignored(since):
    return lambda self, times: None


def now_is_past(begins):
    return lambda self, of_distinct: begins(self, of_distinct + 1)


def counts_all(observed):
    return lambda task, frame: np.ones(len(frame), bool)


def lists_merged(codes):
    return lambda self, frame, who: codes(self, frame, who) // 2


def own_log_ignored(build):
    return lambda self, history, log, times, before, own: build(
        self, history, log, times, before, None
    )


def unknown_is_missing(replaced):
    return lambda self, tf, table, ids, keys: ids * 0


def all_observed(observed):
    return lambda task, frame: np.ones(len(frame), bool)


def oldest_served(newest):
    return lambda tf, columns, length: newest(tf, columns[:, :-1], length)


def limits_shifted(program):
    def later(self, learned):
        made = program(self, learned)
        return type(made)(made.edges + 1, made.lowest)

    return later


def places_shifted(call):
    return lambda self, histories: call(self, histories) + 1


def has_history(case):
    return bool(case.schema.histories)


def holds(kind, wanted):
    """Whether the log has such a value in a feature of a kind."""

    def may_show(case):
        names = [f.name for f in case.schema.features if isinstance(f, kind)]
        # Numbers that are computed are no columns.
        held = [case.log[name] for name in names if name in case.log]
        return any(wanted(v) for column in held for v in column.means or ())

    return may_show


def has_zone(case):
    dates = {f.name for f in case.schema.features if isinstance(f, DateTimeFeature)}
    return any(side[n].look.startswith("zone") for side in case.sides.values() for n in dates)


def has_limits(case):
    return any(group.within for h in case.schema.histories for group in h.groups)


def has_places(case):
    return any(group.last for h in case.schema.histories for group in h.groups)


def is_frozen(case):
    return case.freeze_at is not None and has_history(case)


def has_past(case):
    return bool(case.schema.past)


def past_is_frozen(case):
    return case.freeze_at is not None and has_past(case)


def has_window(case):
    return any(f.window is not None for f in case.schema.past)


def counts_labels(case):
    labels = {task.label for task in case.schema.tasks if task.conditions}
    return any(f.action in labels for f in case.schema.past)


def has_lists(case):
    return case.schema.list_key is not None


def has_own_log(case):
    return case.events is not None


def hides_ids(case):
    return case.unknown is not None


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
    frozen_rates_roll_on: (rates, "frozen_times", past_is_frozen),
    windows_ignored: (PastFeature, "since", has_window),
    now_is_past: (rates._RowsInOrder, "_ranks", has_past),
    counts_all: (actions, "observed_rows", counts_labels),
    lists_merged: (FeatureSchema, "lists_of", has_lists),
    own_log_ignored: (Histories, "_build", has_own_log),
    limits_shifted: (AgeWithin, "program", has_limits),
    places_shifted: (EventPositions, "call", has_places),
    unknown_is_missing: (UnknownIds, "_replaced", hides_ids),
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
