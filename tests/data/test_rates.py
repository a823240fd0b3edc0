"""Rates of the past: against a loop over rows, day by day, from a state, frozen, and as inputs."""

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
    RateFeature,
    RankingData,
    SecondsSinceFeature,
)
from keras_infnet.data import Rates, RateState

START, DAY, MINUTE = 1_790_000_000_000, 86_400_000, 60_000
P = {"click": 0.3, "buy": 0.2}
BUY = BinaryTask("buy", observed_when="click")
LISBON = "Europe/Lisbon"

PAST = [
    RateFeature("user_ctr", "user", action="click"),
    RateFeature("tab_ctr", keys=("user_id", "tab"), action="click", prior=2),
    RateFeature("hour_ctr", "item", keys=("video_id",), action="click", window="1h", prior=0),
    RateFeature("late_ctr", "item", keys=("video_id",), action="click", delay="10min"),
    RateFeature("late_hour", keys=("video_id",), action="buy", delay="10min", window="2h"),
    RateFeature("buy_rate", keys=("user_id", "tab", "video_id"), action="buy", prior=1.5),
    CountFeature("seen", "user"),
    CountFeature("clicks", "user", action="click", window="1d"),
    CountFeature("seen_today", "user", window="day", zone=LISBON),
    CountFeature("buys", keys=("tab",), action="buy", delay="30s"),
    SecondsSinceFeature("since", "user"),
    SecondsSinceFeature("since_click", keys=("video_id",), action="click", delay="10min"),
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


def by_loop(feature, log, rows, until=None):
    """The value of each row, from the definition."""

    def date(row):
        return pd.Timestamp(row["time_ms"], unit="ms", tz="UTC").tz_convert(feature.zone).date()

    past, delay = records(log), milliseconds(feature.delay) if feature.delay else 0
    dates = {id(row): date(row) for row in past} if feature.window == "day" else {}
    return np.array(
        [
            one_value(
                feature,
                row,
                [
                    other
                    for other in past
                    if all(row[k] is not None and row[k] == other[k] for k in feature.keys)
                    and other["time_ms"] < min(row["time_ms"] - delay, until or row["time_ms"])
                    and (
                        dates[id(other)] == date(row)
                        if feature.window == "day"
                        else feature.window is None
                        or other["time_ms"] >= row["time_ms"] - milliseconds(feature.window)
                    )
                ],
            )
            for row in records(rows)
        ],
        "float32",
    )


def one_value(feature, row, past):
    if feature.action == "buy":
        past = [other for other in past if other["click"] == 1]
    if feature.action is not None:
        past = [other for other in past if other[feature.action] is not None]
        known, past = len(past), [other for other in past if other[feature.action] == 1]
    if isinstance(feature, RateFeature):
        weight, p = known + feature.prior, P[feature.action]
        return (len(past) + feature.prior * p) / weight if weight else p
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
    layout = schema.require_fitted()
    object.__setattr__(layout, "action_rates", P)
    return schema


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_a_loop_over_rows(seed, fitted):
    log = make_log(seed)
    found = Rates(fitted, log).attach(log)
    assert_equal(found, {f.name: by_loop(f, log, log) for f in PAST})
    new = make_log(seed + 10, rows=30)
    new.loc[:3, "video_id"] = 77
    expected = {f.name: by_loop(f, log, new) for f in PAST}
    assert_equal(Rates(fitted, log).attach(new.drop(columns=["click", "buy"])), expected)


@pytest.mark.parametrize("seed", range(3))
def test_at_once_day_by_day_and_from_the_saved_state_are_equal(seed, fitted, tmp_path):
    log = make_log(seed, rows=200, days=5).sort_values("time_ms", kind="stable")
    at_once = Rates(fitted, log).attach(log)
    # The second row of a boundary may lie in the same millisecond as the first.
    days = np.array_split(np.arange(len(log)), 5)
    growing = Rates(fitted, log.iloc[days[0]])
    kept = Rates.from_state(fitted, growing.state())
    for number, day in enumerate(days[1:]):
        rows = log.iloc[day]
        first = rows[rows["time_ms"] == rows["time_ms"].min()].drop(columns=["click", "buy"])
        for rates in (growing, kept):
            assert_equal(rates.attach(first), at_once.loc[first.index])
            assert_equal(rates.update(rows), at_once.iloc[day])
        kept.state().save(tmp_path / str(number))
        kept = Rates.from_state(fitted, RateState.load(tmp_path / str(number)))
        assert kept.until == growing.until == rows["time_ms"].max()
        for name, table in growing.state().tables.items():
            keys = [*fitted.feature(name).keys, "last_time"]
            one, other = (
                t.sort_values(keys, ignore_index=True) for t in (table, kept.state().tables[name])
            )
            pd.testing.assert_frame_equal(one, other, check_dtype=False)
