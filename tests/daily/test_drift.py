import math

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    DateTimeFeature,
    DenseFeature,
    FeatureSchema,
    NumericFeature,
)
from keras_infnet.daily.drift import distributions, drift, has_unknown, psi, unknown_shares
from keras_infnet.encoding.encoder import FeatureEncoder

pytestmark = pytest.mark.one_backend


def test_psi_by_hand():
    # Shares .5 and .5, then .8 and .2.
    expected = 0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5)
    assert psi([50, 50], [8, 2]) == pytest.approx(expected)
    assert psi([3, 1], [30, 10]) == 0
    assert psi([1, 0], [0, 1]) == pytest.approx(2 * (1 - 1e-4) * math.log(1 / 1e-4))
    assert math.isnan(psi([0, 0], [1, 1]))


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "video": draw.integers(0, 6, 300),
            "tags": [["a", "b"], ["b"], []] * 100,
            "length": np.where(np.arange(300) % 10, draw.normal(size=300), np.nan),
            "image": list(draw.normal(size=(300, 2)).astype("float32")),
            "click": draw.integers(0, 2, 300),
            "time_ms": 1_790_000_000_000 + np.arange(300),
            "user_id": 1,
        }
    )


@pytest.fixture(scope="module")
def encoder(rows):
    schema = FeatureSchema(
        [
            CategoricalFeature("video", "item", oov_buckets=2),
            CategoricalFeature("tags", "item", max_values=2),
            NumericFeature("length", "item", allow_missing=True, buckets=4),
            DenseFeature("image", "item", dim=2),
        ],
        [BinaryTask("click")],
    )
    return FeatureEncoder(schema).fit(rows)


def test_the_same_rows_have_no_drift(rows, encoder):
    before = distributions(encoder, rows)
    assert drift(encoder, rows, before) == dict.fromkeys(before, 0)
    assert sum(before["video"]["counts"]) == sum(before["image"]["counts"]) == 300
    assert before["length"]["counts"][0] == 30


def test_a_number_that_is_missing_in_all_rows_drifts_when_it_comes_back(rows, encoder):
    none = rows.assign(length=np.nan)
    before = distributions(encoder, none)
    assert before["length"] == {"edges": [], "counts": [300, 0]}
    found = drift(encoder, rows, before)["length"]
    # Shares 1 and 0, then .1 and .9.
    expected = -0.9 * math.log(0.1) + (0.9 - 1e-4) * math.log(0.9 / 1e-4)
    assert found == pytest.approx(expected)


def test_values_that_move_drift_and_unknown_ones_are_counted(rows, encoder):
    before = distributions(encoder, rows)
    moved = rows.assign(
        length=rows["length"] + 3,
        image=[3 * image for image in rows["image"]],
        video=rows["video"].where(rows.index > 29, 99),
    )
    found = drift(encoder, moved, before)
    assert found["tags"] == 0
    assert found["length"] > 1 and found["image"] > 1
    counts = rows["video"].value_counts()
    later = moved["video"].value_counts()
    shares = [(counts[v] / 300, later[v] / 300) for v in counts.index] + [(1e-4, 0.1)]
    assert found["video"] == pytest.approx(sum((q - p) * math.log(q / p) for p, q in shares))
    assert unknown_shares(encoder, moved) == {"video": 0.1, "tags": 0}
    assert has_unknown(encoder, moved).tolist() == [True] * 30 + [False] * 270


def test_the_next_day_of_the_week_is_no_drift_and_other_hours_are():
    schema = FeatureSchema([DateTimeFeature("time", "context")], [BinaryTask("click")])
    hours = np.random.default_rng(0).integers(0, 12, 400)
    times = pd.Series(pd.Timestamp("2026-11-30") + pd.to_timedelta(hours, "h"))
    monday = pd.DataFrame({"time": times, "click": hours % 2})
    encoder = FeatureEncoder(schema).fit(monday)
    before = distributions(encoder, monday)
    tuesday, evening = (monday.assign(time=times + pd.Timedelta(by)) for by in ("1D", "36h"))
    assert drift(encoder, tuesday, before) == {"time": 0}
    assert drift(encoder, evening, before)["time"] > 1
