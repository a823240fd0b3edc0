"""Encoders that are extended by later rows, against loops over rows."""

import pickle

import numpy as np
import pandas as pd
import pytest

from keras_infnet import CategoricalFeature, FeatureSchema, MulticlassTask
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.growth import GrowthCounts
from tests.cases import days, small_log

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
    logs = [day_rows(day, text, rng) for day in range(6)]
    schema = small_log.schema("click")
    schema = FeatureSchema([CategoricalFeature("v", "item")], schema.tasks)
    encoder, renewed = FeatureEncoder(schema).fit(logs[0]), set()
    listed = [
        [(t, None if pd.isna(v) else v) for t, v in zip(d.time_ms, d.v, strict=True)] for d in logs
    ]
    states = [encoder.programs["v"].values.to_pylist()]
    for day in range(1, len(logs)):
        before, encoder = encoder, encoder.extend(logs[day], **limits)
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
    frame = pd.concat(logs)
    ids = encoder.transform(frame)["categorical"]
    graph = encoder.to_tensorflow()
    raw = {"v": encoder.schema.feature("v").request(frame, encoder.schema.dtype_of("v"))["v"]}
    np.testing.assert_array_equal(np.asarray(graph(raw)["categorical"]), ids)
    by_value = {v: i + 2 for i, v in enumerate(states[-1]) if v != free}
    expected = [0 if pd.isna(v) else by_value.get(v, 1) for v in frame.v]
    assert ids[:, 0].tolist() == expected


@pytest.fixture(scope="module")
def first():
    return FeatureEncoder(days.schema()).fit(days.log(0))


def test_all_but_new_values_stays(first):
    before = {name: array.copy() for name, array in first.arrays().items()}
    rows = days.log(1)
    # What is learned from numbers is not learned again.
    rows["seconds"] *= 100
    grown = first.extend(rows)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, before[name])
    assert grown.schema.layout.base_rates == first.schema.layout.base_rates
    assert grown.schema.layout.dtypes == first.schema.layout.dtypes
    assert "parent" not in first.schema.to_dict()["layout"]
    old, new = (e.programs["seconds"] for e in (first, grown))
    assert new is old
    for name in ("user_id", "video_id", "author_id", "tag"):
        old, new = (e.programs[name].values.to_pylist() for e in (first, grown))
        assert new[: len(old)] == old
    # Rows of the first day have the ids that they had; patterns too.
    x, y = (days.inputs(e, 0) for e in (first, grown))
    for name, array in x.items():
        np.testing.assert_array_equal(array, y[name], name)
    patterns = [e.programs["seen/#action"].vocabulary.values.to_pylist() for e in (first, grown)]
    # Only the second day has a like without a click: 1 + 2 * 3.
    assert 7 not in patterns[0]
    assert patterns[1] == [*patterns[0], 7]
    again = first.extend(rows)
    assert again.schema == grown.schema != first.schema


def test_events_and_listed_histories_count(first):
    rows = days.log(1)
    more = pd.DataFrame({"user_id": 1, "video_id": [900, 900, 901], "tag": [[77], [], []]})
    grown = first.extend(rows, events={"seen": more})
    ids = grown.programs["video_id"].numpy(np.array([900, 901, 902]))
    assert (ids > 1).tolist() == [True, True, False]
    assert 77 in grown.programs["tag"].values.to_pylist()
    listed = Histories(first, rows).attach(rows)
    videos = [list(each) for each in listed.seen_video_id]
    listed["seen_video_id"] = [*videos[:-1], [*videos[-1][:-1], 903]]
    assert 903 in first.extend(listed).programs["video_id"].values.to_pylist()
    apart = first.extend(rows, event_logs={"seen": more.assign(click=1, like=0)})
    assert 7 not in apart.programs["seen/#action"].vocabulary.values.to_pylist()


def test_chunks_and_workers_do_not_show(first):
    rows = pd.concat([days.log(1), days.log(2)])
    expected = first.extend(rows, keep_days=1.5, max_ids=25, min_frequency=2)
    merged = GrowthCounts(first)
    for part in np.array_split(np.arange(len(rows)), 4):
        worker = GrowthCounts(first)
        worker.add_rows(rows.iloc[part])
        merged.merge(pickle.loads(pickle.dumps(worker)))
    found = merged.extended(keep_days=1.5, max_ids=25, min_frequency=2)
    assert found.schema == expected.schema
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)


def test_limits_by_feature_and_now(first):
    rows = days.log(1)
    grown = first.extend(rows, min_frequency={"video_id": 999}, max_ids={"user_id": 5})
    assert "video_id" not in grown.schema.layout.renewed
    assert grown.schema.num_ids("video_id") == first.schema.num_ids("video_id")
    assert grown.schema.num_ids("author_id") == first.schema.num_ids("author_id")
    assert len(grown.programs["user_id"].known) == 5
    later = pd.Timestamp(days.START + 2 * days.DAY, unit="ms") + pd.Timedelta(days=7)
    grown = first.extend(rows, keep_days=8, now=later)
    seen = {*days.log(1).video_id}
    assert set(grown.programs["video_id"].known.to_pylist()) == seen


def test_a_column_that_is_empty_is_said(first):
    rows = days.log(1).assign(author_id=None, user_id=-1, tag=[[]] * 90)
    with pytest.warns(UserWarning, match="`author_id`, `tag`, `user_id`: no value in any of 90 r"):
        grown = first.extend(rows)
    old, new = (e.programs["author_id"].values.to_pylist() for e in (first, grown))
    assert old == new


def test_times_that_no_one_knows_free_no_ids(tmp_path, first):
    rows = days.log(1)
    unknown = FeatureEncoder(days.schema()).fit(days.log(0).drop(columns="time_ms"))
    assert unknown.schema == first.schema
    unknown.save(tmp_path / "encoder")
    unknown = FeatureEncoder.load(tmp_path / "encoder")
    with pytest.raises(
        ValueError,
        match="`keep_days` and `max_ids` free the ids of `user_id`.*"
        "the rows that the encoder knows have no times in column `time_ms`",
    ):
        unknown.extend(rows, keep_days=3)
    with pytest.raises(ValueError, match="these rows have no times in column `time_ms`"):
        first.extend(rows.drop(columns="time_ms"), max_ids=10)
    # Without limits they need none; afterwards nothing is known of any.
    grown = first.extend(rows.drop(columns="time_ms"))
    assert grown.programs["video_id"].last_seen is None


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (
            days.log(1).astype({"video_id": str}),
            {},
            "`video_id`: found values of type .*string.*expected integers",
        ),
        (days.log(1).drop(columns="tag"), {}, "Feature `tag`: the frame has no column `tag`"),
        (days.log(1).assign(like=2), {}, "Task `like`, label `like`"),
        (days.log(1), {"keep_days": 0}, "keep_days is 0; expected a number of days above 0"),
        (days.log(1), {"max_ids": 0}, "max_ids is 0; expected a whole number, 1 or more"),
        (days.log(1), {"max_ids": {"page": 3}}, "max_ids names `page`, which has no vocabulary"),
        (days.log(1), {"min_frequency": {"video": 3}}, "no feature `video`.*`video_id`"),
        (days.log(1), {"now": "2026-01-01"}, "`now` is '2026-01-01', and no `keep_days`|now="),
        (days.log(1)[:0], {}, "FeatureEncoder.extend"),
    ],
)
def test_what_can_not_extend_is_refused(first, rows, arguments, message):
    with pytest.raises(ValueError, match=message):
        first.extend(rows, **arguments)


def test_a_new_class_and_an_encoder_without_rows_are_refused(first):
    task = MulticlassTask("mood", classes=["good", "bad"])
    schema = FeatureSchema([CategoricalFeature("video_id", "item")], [task], time_key=None)
    frame = pd.DataFrame({"video_id": [1, 2], "mood": ["good", "bad"]})
    encoder = FeatureEncoder(schema).fit(frame)
    with pytest.raises(ValueError, match="none of the classes .*such as 'so so'.*Declare the cl"):
        encoder.extend(frame.assign(mood="so so"))
    assert encoder.extend(frame.drop(columns="mood")).schema.num_ids("video_id") == 4
    with pytest.raises(ValueError, match="the sizes of its tables are unknown"):
        FeatureEncoder(schema).extend(frame)
    with pytest.raises(ValueError, match="of `video_id` .*: the schema has no `time_key`"):
        encoder.extend(frame, keep_days=1)
