"""Integers of 2^53 and more that went through floats, where two of them are one float."""

import io

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, RankingData
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.metrics import group_auc

pytestmark = pytest.mark.one_backend

BASE = 7_000_000_000_000_000_000
SCHEMA = FeatureSchema(
    [CategoricalFeature("video_id", "item")], [BinaryTask("click")], [History("seen", ["video_id"])]
)


def make_log(rows=600):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": BASE + rng.integers(1, 30, rows),
            "video_id": BASE + rng.integers(1, 40, rows),
            "time_ms": 1_650_000_000_000 + np.arange(rows) * 60_000,
            "click": rng.integers(0, 2, rows),
        }
    )


def test_a_csv_column_that_pandas_made_floats_is_refused():
    log = make_log()
    text = log.assign(video_id=log.video_id.astype("Int64").mask(log.index == 3)).to_csv()
    floats = pd.read_csv(io.StringIO(text))
    assert floats.video_id.dtype == "float64"
    with pytest.raises(ValueError, match=r"`video_id`: found floats of 2\*\*53 or more.*`Int64`"):
        FeatureEncoder(SCHEMA).fit(floats)
    exact = pd.read_csv(io.StringIO(text), dtype={"video_id": "Int64"})
    encoder = FeatureEncoder(SCHEMA).fit(exact)
    assert encoder.schema.table_rows() == {"video_id": 2 + exact.video_id.nunique()}


def test_users_that_are_floats_are_refused():
    log = make_log()
    floats = log.assign(user_id=log.user_id.astype("float64"))
    message = r"`user_id`: found floats of 2\*\*53 or more.*`Int64`"
    encoder = FeatureEncoder(SCHEMA).fit(log)
    with pytest.raises(ValueError, match=message):
        Histories(encoder, floats)
    with pytest.raises(ValueError, match=message):
        Histories(encoder, log).attach(floats[-3:])
    with pytest.raises(ValueError, match=r"floats of 2\*\*53 or more.*`Int64`"):
        group_auc(floats.click, np.arange(len(log)), floats.user_id)


def test_users_with_a_gap_are_exact_and_nobody_has_no_history():
    log = make_log()
    users = log.user_id.astype("Int64").mask(log.index % 7 == 0)
    encoder = FeatureEncoder(SCHEMA).fit(log)
    found = Histories(encoder, log.assign(user_id=users)).attach(log.assign(user_id=users))
    for row in (599, 598, 70):
        mine = (users[:row] == users[row]).fillna(False).to_numpy(bool)
        expected = [] if users.isna()[row] else log.video_id[:row][mine].tolist()[-100:]
        assert list(found.seen_video_id[row]) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([1, 2**63, 3] * 20, "uint64"),
            "expected integers; .*below 2\\*\\*63, or text by",
        ),
        ([1, 2**65, 3] * 20, "found values of type int.*beyond 64 bits: make text of them"),
        ([2**60 + 1, 0.5, 3] * 20, "found values of type float, int.*`frame.name..map.str"),
        (pd.array([2.0**60, None, 3] * 20, "Float64"), r"floats of 2\*\*53 or more"),
        (np.array([2**24, 0, 3] * 20, "float32"), r"floats of 2\*\*24 or more \(float\)"),
        (np.array([2**11, 0, 3] * 20, "float16"), r"floats of 2\*\*11 or more \(halffloat\)"),
    ],
)
def test_what_no_integer_can_hold_is_refused_and_the_advice_works(values, message):
    log = make_log(60)
    wrong = log.assign(video_id=pd.Series(values, dtype=getattr(values, "dtype", object)))
    with pytest.raises(ValueError, match=f"`video_id`: .*{message}"):
        FeatureEncoder(SCHEMA).fit(wrong)
    text = wrong.assign(video_id=wrong.video_id.map(str, na_action="ignore"))
    encoder = FeatureEncoder(SCHEMA).fit(text)
    assert encoder.schema.table_rows() == {"video_id": 2 + wrong.video_id.nunique()}


def test_rows_of_another_integer_type_are_the_same_ids():
    log = make_log()
    expected = FeatureEncoder(SCHEMA).fit(log)
    ids = expected.transform(log)["categorical"]
    for dtype in ("uint64", "Int64", "UInt64", "object", "category", "int64[pyarrow]"):
        other = log.assign(video_id=log.video_id.astype(dtype), user_id=log.user_id.astype(dtype))
        np.testing.assert_array_equal(expected.transform(other)["categorical"], ids)
        assert FeatureEncoder(SCHEMA).fit(other).schema == expected.schema


def test_validation_rows_that_make_floats_of_the_log_are_refused():
    log = make_log()
    more = log.tail(60).set_axis(np.arange(1000, 1060)).assign(video_id=np.nan)
    with pytest.raises(ValueError, match=r"`video_id`: found floats of 2\*\*53 or more"):
        RankingData(SCHEMA, log, validation=more)
