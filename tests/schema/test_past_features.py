"""Features of the past: what may be declared, and what a log must hold."""

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    CountFeature,
    CountTask,
    FeatureSchema,
    History,
    RankingData,
    RateFeature,
    SecondsSinceFeature,
)
from keras_infnet.data import Rates
from keras_infnet.schema.date_time import midnights

pytestmark = pytest.mark.one_backend

VIDEO = CategoricalFeature("video_id", "item", dtype="int")
P = {"click": 0.5}


CLICK = BinaryTask("click")


def make_schema(*past, tasks=(CLICK,), **arguments):
    return FeatureSchema([VIDEO, *past], tasks, **arguments)


def make_log(**columns):
    time = 1_790_000_000_000 + 1000 * np.arange(6)
    plain = {"user_id": 1, "time_ms": time, "video_id": 7, "click": [0, 1, 0, 1, 1, 0]}
    return pd.DataFrame({**plain, **columns})


def fitted(*past):
    return make_schema(*past).with_sizes({"video_id": 9, **{f.name: 4 for f in past}})


def rate(name="ctr", **arguments):
    return RateFeature(name, **{"action": "click", **arguments})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rate(window="1 hour"), "`ctr`: window is '1 hour'; expected a duration such as"),
        (lambda: rate(window="0d"), "window is '0d'; expected a duration .* or \"day\""),
        (lambda: rate(delay="soon"), "delay is 'soon'; expected a duration such as"),
        (lambda: rate(delay=600), "delay is 600; expected a duration such as"),
        (lambda: rate(window="1h", delay="60min"), "window is '1h'; expected more than the delay"),
        (lambda: rate(prior=-1), "prior is -1; expected a number of 0 or more"),
        (lambda: rate(prior=float("nan")), "prior is nan"),
        (lambda: rate(action=None), "action is None; expected a column of 0 and 1"),
        (lambda: rate(keys="user_id"), "keys is 'user_id'; expected a tuple"),
        (lambda: rate(keys=()), "one or more names"),
        (lambda: rate(keys=("a", "a")), "each name once, not a twice"),
        (lambda: rate(keys=("rows",)), "other names than 'rows'"),
        (lambda: CountFeature("n", window="day", zone="Mars"), "zone is 'Mars'; expected a zone"),
        (lambda: make_schema(rate(window="1h"), time_key=None), "`ctr` counts rows .* no time_key"),
        (lambda: make_schema(rate(action="video_id")), "action is 'video_id'; expected a column"),
        (
            lambda: make_schema(rate(action="like", keys=("click",))),
            "before .*'click' is not",
        ),
        (lambda: make_schema(rate(), CountFeature("n", keys=("ctr",))), "'ctr' is not"),
        (lambda: make_schema(rate(keys=("video_id",))), "owner is 'context'; expected 'item': key"),
        (
            lambda: make_schema(rate(), histories=[History("h", ("video_id", "ctr"))]),
            "field `ctr` is a RateFeature, which is computed for rows",
        ),
    ],
)
def test_what_can_not_be_declared_is_an_error(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"click": 7}, "action `click`: 6 values are not 0, 1 or missing .such as 7."),
        ({"click": 0.5}, "action `click`: 6 values are not 0, 1 or missing .such as 0.5"),
        ({"click": "yes"}, "action `click`: found values of type str; expected numbers"),
        ({"user_id": 1.5}, "key `user_id`: expected integers"),
        ({"user_id": pd.Timestamp("2026-01-01")}, "key `user_id`: found values of type timestamp"),
        ({"time_ms": pd.NaT}, "column `time_ms` has 6 missing values"),
    ],
)
def test_what_a_log_must_not_hold_is_an_error(columns, text):
    with pytest.raises(ValueError, match=text):
        Rates(make_schema(rate()), make_log(**columns), P)


@pytest.mark.parametrize("lacking", ["click", "user_id", "time_ms"])
def test_a_column_that_lacks_is_named(lacking):
    with pytest.raises(ValueError, match=f"the frame has no column `{lacking}`"):
        Rates(make_schema(rate()), make_log().drop(columns=lacking), P)


def test_a_label_of_another_kind_is_no_action():
    schema = make_schema(rate(action="plays"), tasks=[CountTask("plays")])
    with pytest.raises(ValueError, match="`ctr`, action `plays`: 1 values are not 0, 1 or missing"):
        RankingData(schema, make_log(plays=[0, 1, 0, 1, 1, 4]))


def test_an_action_that_no_training_row_knows_has_no_rate():
    schema = make_schema(rate(action="like"))
    with pytest.raises(ValueError, match="`ctr`, action `like`: no training row has a value"):
        RankingData(schema, make_log(like=np.nan))


def test_rates_need_features_and_the_rates_of_their_actions():
    with pytest.raises(ValueError, match="the schema has no feature of the past"):
        Rates(make_schema(), make_log(), P)
    with pytest.raises(ValueError, match="rate of action `click`, of feature `ctr`, is unknown"):
        Rates(fitted(rate()), make_log())
    with pytest.raises(ValueError, match=r"`ctr` .of the past.*: the frame has no column `ctr`"):
        RankingData(make_schema(rate()), make_log()).encoder.transform(make_log())


def test_users_of_another_kind_are_an_error():
    rates = Rates(make_schema(rate()), make_log(), P)
    with pytest.raises(ValueError, match="key `user_id`: found values of type .*string"):
        rates.attach(make_log(user_id="1"))


def test_rows_older_than_a_state_and_days_that_come_twice_are_errors():
    schema, log = fitted(rate()), make_log()
    rates = Rates(schema, log, P)
    with pytest.raises(ValueError, match="6 of 6 rows are older .*newest past row.*Give each day"):
        rates.update(log.assign(time_ms=log["time_ms"] - 10_000))
    with pytest.raises(ValueError, match="5 of 6 rows are older"):
        rates.update(log)
    state = rates.state()
    other = "`ctr` has window='7d', but None when the state was made. Make it from the log again."
    with pytest.raises(ValueError, match=other):
        Rates.from_state(fitted(rate(window="7d")), state)
    with pytest.raises(ValueError, match="RateState: it has no feature `ctr_2`. Did you mean"):
        Rates.from_state(fitted(rate("ctr_2")), state)


def test_a_state_goes_on_with_an_encoder_that_is_fitted_anew():
    first = RankingData(make_schema(rate(prior=1)), make_log())
    kept, later = first.rates.state(), make_log(click=[1, 1, 1, 1, 1, 0])
    later["time_ms"] = kept.until + 1 + np.arange(6)
    anew = RankingData(make_schema(rate(prior=1)), pd.concat([make_log(), later]))
    found = Rates.from_state(anew.schema, kept).update(later)["ctr"]
    np.testing.assert_allclose(found, anew.rates.attach(later)["ctr"])
    # Eight of twelve training rows have a click.
    assert found.iloc[0] == np.float32((3 + 8 / 12) / 7)


def test_rates_of_a_state_know_no_older_rows_and_no_earlier_time():
    data = RankingData(make_schema(rate()), make_log())
    kept = Rates.from_state(data.schema, data.rates.state())
    with pytest.raises(ValueError, match="5 of 6 rows are asked for at a time before the state"):
        kept.attach(make_log())
    later = make_log(time_ms=kept.until + 1)
    assert kept.attach(later)["ctr"].tolist() == [0.5] * 6
    with pytest.raises(ValueError, match="6 of 6 rows are asked for at a time before the state"):
        kept.attach(later, freeze_at=kept.until - 1)
    with pytest.raises(ValueError, match="`freeze_at` can't freeze `ctr`, which the rows hold"):
        data.rates.attach(later.assign(ctr=0.0), freeze_at=kept.until)


def test_a_row_of_the_table_gives_the_rate():
    log = make_log(user_id=[1, 1, 2, 2, 2, 1])
    data = RankingData(make_schema(rate(prior=3)), log)
    state = data.rates.state()
    table = state.tables["ctr"]
    # The last row's millisecond is apart: a row of the same time does not see it.
    assert table[["user_id", "last_time", "rows", "ones"]].to_numpy().tolist() == [
        [1, 1_790_000_001_000, 2, 1],
        [1, 1_790_000_005_000, 1, 0],
        [2, 1_790_000_004_000, 3, 2],
    ]
    users = table.groupby("user_id")[["rows", "ones"]].sum()
    expected = (users["ones"] + 3 * 0.5) / (users["rows"] + 3)
    later = pd.DataFrame({"user_id": [1, 2], "time_ms": state.until + 1})
    np.testing.assert_allclose(data.rates.attach(later)["ctr"], expected)
    assert table["p"].eq(0.5).all() and table["prior"].eq(3).all()


def test_keys_without_a_value_are_nobodys():
    past = [rate(), CountFeature("seen"), SecondsSinceFeature("since")]
    log = make_log(user_id=pd.array([None] * 6, "Int64"))
    for rows in (log, make_log(user_id=None), make_log(user_id=99)):
        found = Rates(make_schema(*past), log, P).attach(rows)
        assert found["ctr"].eq(0.5).all() and found["seen"].eq(0).all()
        assert found["since"].isna().all()


def test_users_may_be_strings():
    log = make_log(user_id=["a", "b", "", "a", "b", None])
    found = Rates(make_schema(CountFeature("seen")), log, {}).attach(log)
    assert found["seen"].tolist() == [0, 0, 0, 1, 1, 0]


def test_midnight_is_that_of_the_zone():
    zone = "Europe/Lisbon"
    times = pd.date_range("2026-03-27", "2026-03-31", freq="37min", tz="UTC").append(
        pd.date_range("2026-10-23", "2026-10-27", freq="37min", tz="UTC")
    )
    expected = times.tz_convert(zone).normalize().tz_convert("UTC").as_unit("ms").asi8
    np.testing.assert_array_equal(midnights(times.as_unit("ms").asi8, zone), expected)


def test_a_schema_comes_back_from_its_dictionary():
    past = [rate(window="day", zone="Asia/Shanghai"), CountFeature("seen", "user", delay="5min")]
    schema = RankingData(make_schema(*past), make_log()).schema
    assert FeatureSchema.from_dict(schema.to_dict()) == schema
    assert schema.require_fitted().action_rates == {"click": 0.5}
