"""Rates of the past: against a loop over rows, day by day, from a state, frozen, and as inputs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import keras_infnet
from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    CountFeature,
    FeatureSchema,
    History,
    RankingData,
    RateFeature,
    SecondsSinceFeature,
)
from keras_infnet.data import Rates, RateState, prepare
from keras_infnet.data.prepare_steps import Preparation
from keras_infnet.data.whole_files import read_json, write_json

pytestmark = pytest.mark.one_backend
START, DAY, MINUTE = 1_790_000_000_000, 86_400_000, 60_000
P = {"click": 0.3, "buy": 0.2}
BUY = BinaryTask("buy", observed_when="click")
LISBON = "Europe/Lisbon"

PAST = [
    RateFeature("user_ctr", "user", action="click"),
    RateFeature("tab_ctr", keys=("user_id", "tab"), action="click", prior=2),
    RateFeature("hour_ctr", "item", keys=("video_id",), action="click", window="1h", prior=0),
    RateFeature("late_ctr", "item", keys=("video_id",), action="click", delay="10min"),
    RateFeature("late_hour", "item", keys=("video_id",), action="buy", delay="10min", window="2h"),
    RateFeature("buy_rate", "item", keys=("user_id", "tab", "video_id"), action="buy", prior=1.5),
    CountFeature("seen", "user"),
    CountFeature("clicks", "user", action="click", window="1d"),
    CountFeature("seen_today", "user", window="day", zone=LISBON),
    CountFeature("buys", keys=("tab",), action="buy", delay="30s"),
    SecondsSinceFeature("since", "user"),
    SecondsSinceFeature("since_click", "item", keys=("video_id",), action="click", delay="10min"),
    SecondsSinceFeature("since_lately", "user", window="1h"),
]


def make_schema(past=PAST, **arguments):
    video = CategoricalFeature("video_id", "item", dtype="int")
    return FeatureSchema([video, *past], [BUY], **arguments)


def make_log(seed, rows=160, days=3):
    """Rows in any order; repeated times, keys that lack, labels that are unknown."""
    rng = np.random.default_rng(seed)
    # Around the end of summer time in Lisbon; many rows lie in the same minutes.
    times = START + 34 * DAY + rng.integers(0, days * 48, rows) * 30 * MINUTE
    times += rng.integers(0, 3, rows) * 5 * MINUTE
    click = rng.integers(0, 2, rows).astype("float64")
    click[rng.random(rows) < 0.1] = np.nan
    users = pd.array(rng.integers(1, 6, rows), dtype="Int64")
    users[rng.random(rows) < 0.1] = pd.NA
    tabs = rng.choice(np.array(["home", "feed", None], object), rows)
    buy = np.where(click == 1, rng.integers(0, 2, rows), 0)
    columns = {"user_id": users, "time_ms": times, "video_id": rng.integers(0, 4, rows)}
    return pd.DataFrame({**columns, "tab": tabs, "click": click, "buy": buy})


UNITS = {"s": 1000, "min": MINUTE, "h": 60 * MINUTE, "d": DAY}


def milliseconds(text):
    digits = "".join(c for c in text if c.isdigit())
    return int(digits) * UNITS[text[len(digits) :]]


def records(frame):
    """Rows as dicts, `None` for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return plain.to_dict("records")


def by_loop(feature, log, rows, until=None, p=P):
    """The value of each row, from the definition."""
    past = records(log)
    values = [
        one_value(feature, row, [o for o in past if is_past(feature, o, row, until)], p)
        for row in records(rows)
    ]
    return np.array(values, "float32")


def is_past(feature, other, row, until):
    """Whether a row counts as the past of another."""
    time, now = other["time_ms"], row["time_ms"]
    delay = milliseconds(feature.delay) if feature.delay else 0
    if any(row[k] is None or row[k] != other[k] for k in feature.keys):
        return False
    if time >= now - delay or (until and time >= until):
        return False
    if feature.window == "day":
        return date(time, feature.zone) == date(now, feature.zone)
    return feature.window is None or time >= now - milliseconds(feature.window)


def date(time, zone):
    return pd.Timestamp(time, unit="ms", tz="UTC").tz_convert(zone).date()


def one_value(feature, row, past, p):
    if feature.action == "buy":
        past = [other for other in past if other["click"] == 1]
    if feature.action is not None:
        past = [other for other in past if other[feature.action] is not None]
        known, past = len(past), [other for other in past if other[feature.action] == 1]
    if isinstance(feature, RateFeature):
        weight, rate = known + feature.prior, p[feature.action]
        return (len(past) + feature.prior * rate) / weight if weight else rate
    if isinstance(feature, CountFeature):
        return len(past)
    newest = max((other["time_ms"] for other in past), default=np.nan)
    return (row["time_ms"] - newest) / 1000


def assert_equal(found, expected):
    for feature in PAST:
        name = feature.name
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def fitted():
    """A schema that an encoder has fitted, whose rates are `P`."""
    log = make_log(99)
    encoder = keras_infnet.data.FeatureEncoder(make_schema())
    schema = encoder.fit(Rates(make_schema(), log, P).attach(log)).schema
    return schema.with_layout(dataclasses.replace(schema.require_fitted(), action_rates=P))


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_a_loop_over_rows(seed, fitted):
    log = make_log(seed)
    found = Rates(fitted, log).attach(log)
    assert_equal(found, {f.name: by_loop(f, log, log) for f in PAST})
    new = make_log(seed + 10, rows=30)
    new.loc[:3, "video_id"] = 77
    expected = {f.name: by_loop(f, log, new) for f in PAST}
    assert_equal(Rates(fitted, log).attach(new.drop(columns=["click", "buy"])), expected)


@pytest.mark.parametrize("seed", range(2))
def test_at_once_day_by_day_and_from_the_saved_state_are_equal(seed, fitted, tmp_path):
    log = make_log(seed, rows=150, days=4).sort_values("time_ms", kind="stable")
    at_once = Rates(fitted, log).attach(log)
    # The second row of a boundary may lie in the same millisecond as the first.
    days = np.array_split(np.arange(len(log)), 4)
    growing = Rates(fitted, log.iloc[days[0]])
    kept = Rates.from_state(fitted, growing.state())
    for day in days[1:]:
        rows = log.iloc[day]
        first = rows[rows["time_ms"] == rows["time_ms"].min()].drop(columns=["click", "buy"])
        for rates in (growing, kept):
            assert_equal(rates.attach(first), at_once.loc[first.index])
            assert_equal(rates.update(rows), at_once.iloc[day])
        kept.state().save(tmp_path / "state", overwrite=True)
        kept = Rates.from_state(fitted, RateState.load(tmp_path / "state"))
        assert kept.until == growing.until == rows["time_ms"].max()
        for name, table in growing.state().tables.items():
            keys = [*fitted.feature(name).keys, "last_time"]
            one, other = (
                t.sort_values(keys, ignore_index=True) for t in (table, kept.state().tables[name])
            )
            pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_each_flipped_bit_of_a_saved_state_is_an_error(fitted, tmp_path):
    state = Rates(fitted, make_log(0, rows=40)).state()
    state.save(tmp_path / "state")
    name = min(state.tables)
    path = tmp_path / "state" / f"{name}.parquet"
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"RateState.load: .*{name}.parquet can't be read"):
            RateState.load(tmp_path / "state")
    about = tmp_path / "state" / "state.json"
    write_json(about, {**read_json(about, "test"), "format": 1})
    with pytest.raises(ValueError, match="state has format 1; expected 2. Save it again"):
        RateState.load(tmp_path / "state")


@pytest.fixture(scope="module")
def log():
    made = make_log(5, rows=300, days=6)
    made["click"] = made["click"].fillna(0.0)
    return made.sort_values("time_ms", ignore_index=True)


BOUNDARY = START + 38 * DAY


@pytest.fixture(scope="module")
def data(log):
    video = CategoricalFeature("video_id", "item", dtype="int")
    history = History("seen_videos", ("video_id",), max_length=3)
    schema = FeatureSchema([video, *PAST], [BinaryTask("click"), BUY], [history])
    return RankingData(schema, log, validation=BOUNDARY, batch_size=64)


def packed(batches):
    """The ids of one-valued features, in the order of the rows."""
    return np.concatenate([x["categorical"] for x, *_ in batches.as_numpy_iterator()])


def test_the_encoder_keeps_rates_of_training_rows_and_learns_from_their_values(log, data):
    train = log[log["time_ms"] < BOUNDARY]
    rates = data.schema.require_fitted().action_rates
    assert rates["click"] == train["click"].mean()
    assert rates["buy"] == train["buy"][train["click"] == 1].mean()
    expected = Rates(data.schema, log).attach(train)
    np.testing.assert_array_equal(
        packed(data.batches("train")), data.encoder.transform(expected)["categorical"]
    )


def test_validation_rolls_on_or_is_frozen_as_histories_are(log, data):
    rows = data.frame("validation")
    p = data.schema.require_fitted().action_rates
    expected = {f.name: by_loop(f, log, rows, BOUNDARY, p) for f in PAST}
    assert_equal(data.attach(rows, freeze_at=BOUNDARY), expected)
    rolling, frozen = (packed(data.batches("validation", freeze_at=f)) for f in ("never", "part"))
    assert (rolling != frozen).any()
    for when, found in (("never", rolling), (BOUNDARY, frozen)):
        attached = data.attach(rows, freeze_at=when)
        np.testing.assert_array_equal(found, data.encoder.transform(attached)["categorical"])
        # What rows hold stays.
        np.testing.assert_array_equal(found, packed(data.batches(attached)))
    first = data.attach(rows, freeze_at="first_row")
    starts = rows.groupby("user_id")["time_ms"].transform("min")
    for user, time in list(zip(rows["user_id"], starts, strict=True))[::9]:
        if user is not pd.NA:
            mine = rows[rows["user_id"] == user]
            expected = Rates(data.schema, log).attach(mine, freeze_at=int(time))
            assert_equal(first.loc[mine.index], expected)


def test_labels_at_or_after_a_row_do_not_change_it(log, data):
    rng = np.random.default_rng(0)
    for time in rng.choice(log["time_ms"].unique(), 6):
        later = log["time_ms"] >= time
        other = log.copy()
        other.loc[later, "click"] = 1 - other.loc[later, "click"]
        other.loc[later, "buy"] = rng.permutation(other.loc[later, "buy"])
        rows = log[log["time_ms"] <= time]
        assert_equal(Rates(data.schema, other).attach(rows), data.rates.attach(rows))


def test_saved_data_know_what_was_added(log, data, tmp_path):
    more = make_log(8, rows=20, days=1).assign(time_ms=lambda f: f["time_ms"] + 9 * DAY)
    later = more.assign(time_ms=more["time_ms"] + 1)
    first = RankingData(data.encoder, log, validation=BOUNDARY)
    first.save(tmp_path / "first")
    first.rates.update(more)
    first.save(tmp_path / "second")
    loaded = RankingData.load(tmp_path / "second")
    assert_equal(loaded.rates.attach(later), first.rates.attach(later))
    assert_equal(RankingData.load(tmp_path / "first").attach(later), data.attach(later))


def check_prepared(data, folder):
    opened = RankingData.open(folder)
    assert opened.schema == data.schema
    for part in ("train", "validation"):
        rows = opened.frame(part)
        expected = data.encoder.transform(data.attach(data.frame(part).loc[rows.index]))
        np.testing.assert_array_equal(packed(opened.batches(part)), expected["categorical"])


SPLITS = {"train": BOUNDARY, "validation": None}
SMALL = {"partitions": 3, "chunk_rows": 90, "block_rows": 40, "verbose": False}


def stop(plan):
    raise OSError("full")


def test_prepare_has_the_same_values(log, data, tmp_path, monkeypatch):
    schema = data.schema.with_layout(None)
    prepare(schema, log, tmp_path / "out", splits=SPLITS, **SMALL)
    check_prepared(data, tmp_path / "out")
    with pytest.raises(ValueError, match="prepared folder, in which `user_ctr`, .* roll on"):
        RankingData.open(tmp_path / "out", freeze_at="part").validation.as_numpy_iterator()
    with pytest.raises(ValueError, match="no past rows, and the rows lack `user_ctr`"):
        RankingData.open(tmp_path / "out").batches(data.histories.attach(log))
    # A run that was stopped before its end goes on.
    log.to_parquet(tmp_path / "log.parquet")
    arguments = (schema, tmp_path / "log.parquet", tmp_path / "again")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(Preparation, "publish", stop)
        prepare(*arguments, splits=SPLITS, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "write", None)
        prepare(*arguments, splits=SPLITS, **SMALL)
    check_prepared(data, tmp_path / "again")
    held = Rates(data.schema, log).attach(log)
    prepare(schema, held, tmp_path / "held", splits=SPLITS, **SMALL)
    check_prepared(data, tmp_path / "held")
