"""Encoders that are extended by later rows, against loops over rows."""

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    CategoricalFeature,
    FeatureSchema,
)
from keras_infnet.data import FeatureEncoder
from tests.cases import small_log

DAY = 86_400_000
START = 1_750_000_000_000


def looped(days, min_frequency=1, keep_days=None, max_ids=None):
    """Places of values, None where free, after each day: a loop over its rows, (time, value)."""
    places, last, found = [], {}, []
    for number, day in enumerate(days):
        counts, times = {}, {}
        for time, value in day:
            if value is not None:
                counts[value] = counts.get(value, 0) + 1
                times[value] = max(times.get(value, time), time)
        for value in places:
            if value in times:
                last[value] = max(last[value], times[value])
        new = [
            v for v in counts if v not in places and counts[v] >= (min_frequency if number else 1)
        ]
        new.sort(key=lambda v: (-counts[v], v))
        last |= {v: times[v] for v in new}
        chosen = [v for v in places if v is not None] + new
        # The first day is fitted, without limits.
        if number and keep_days is not None:
            newest = max(time for time, _ in day)
            chosen = [v for v in chosen if last[v] >= newest - keep_days * DAY]
        if number and max_ids is not None:
            order = sorted(chosen, key=lambda v: (-last[v], -counts.get(v, 0)))[:max_ids]
            chosen = [v for v in chosen if v in order]
        places = [v if v in chosen else None for v in places]
        for value in (v for v in new if v in chosen):
            if None in places:
                places[places.index(None)] = value
            else:
                places.append(value)
        last = {v: t for v, t in last.items() if v in places}
        found.append((list(places), dict(last)))
    return found


def day_rows(day, text, rng):
    rows = 60
    values = rng.integers(0, 12, rows) + 4 * day
    time = START + day * DAY + rng.integers(0, DAY // 1000, rows) * 1000
    frame = pd.DataFrame({"time_ms": time, "v": values, "click": np.arange(rows) % 2})
    frame["user_id"] = 1
    frame["v"] = frame.v.astype("Int64").mask(rng.random(rows) < 0.1)
    if text:
        frame["v"] = frame.v.map("{}\0é".format, na_action="ignore").astype(object)
    return frame


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"min_frequency": 4},
        {"keep_days": 1.5},
        {"max_ids": 14},
        {"keep_days": 2, "max_ids": 13, "min_frequency": 2},
    ],
)
def test_values_get_the_ids_of_a_loop_over_rows(tmp_path, text, limits):
    rng = np.random.default_rng(3)
    days = [day_rows(day, text, rng) for day in range(6)]
    schema = small_log.schema("click")
    schema = FeatureSchema([CategoricalFeature("v", "item")], schema.tasks)
    encoder, renewed = FeatureEncoder(schema).fit(days[0]), set()
    listed = [
        [(t, None if pd.isna(v) else v) for t, v in zip(d.time_ms, d.v, strict=True)] for d in days
    ]
    states = [encoder.programs["v"].values.to_pylist()]
    for day in range(1, len(days)):
        before, encoder = encoder, encoder.extend(days[day], **limits)
        encoder.save(tmp_path / "encoder")
        encoder = FeatureEncoder.load(tmp_path / "encoder", encoder.schema)
        assert encoder.schema.layout.parent == before.schema.fingerprint
        states.append(encoder.programs["v"].values.to_pylist())
        renewed |= set(encoder.schema.layout.renewed.get("v", ()))
        was, now = states[-2], states[-1]
        changed = [i + 2 for i, value in enumerate(was) if now[i] != value]
        assert encoder.schema.layout.renewed.get("v", []) == changed
    free = "" if text else -1
    reference = looped(listed, **limits)
    for found, (places, _) in zip(states, reference, strict=True):
        assert found == [free if v is None else v for v in places]
    last = reference[-1][1]
    times = encoder.programs["v"].last_seen.tolist()
    for value, time in zip(states[-1], times, strict=True):
        assert value == free or time == last[value]
    assert bool(renewed) == ("keep_days" in limits or "max_ids" in limits)
    # A request's graph has the same ids.
    frame = pd.concat(days)
    ids = encoder.transform(frame)["categorical"]
    graph = encoder.to_tensorflow()
    raw = {"v": encoder.schema.feature("v").request(frame, encoder.schema.dtype_of("v"))["v"]}
    np.testing.assert_array_equal(np.asarray(graph(raw)["categorical"]), ids)
    by_value = {v: i + 2 for i, v in enumerate(states[-1]) if v != free}
    expected = [0 if pd.isna(v) else by_value.get(v, 1) for v in frame.v]
    assert ids[:, 0].tolist() == expected
