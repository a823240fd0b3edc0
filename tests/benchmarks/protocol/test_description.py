import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.protocol.description import artefact_rows, past_rates
from keras_infnet.datasets import Split


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, 8, 120),
            "time_ms": rng.integers(0, 60, 120),
            "date": 20220501,
            "is_click": rng.integers(0, 2, 120).astype("int8"),
        },
        index=rng.permutation(120),
    )


WARM = pd.DataFrame({"user_id": [0, 0, 0, 3], "is_click": np.array([1, -1, 1, 0], "int8")})


@pytest.mark.parametrize("warm", [None, WARM])
def test_the_rate_counts_strictly_earlier_rows(frame, warm):
    rates, counts = past_rates(frame, "is_click", warm)
    overall = frame["is_click"].mean()
    for label, row in frame.iterrows():
        same_user = frame[frame["user_id"] == row["user_id"]]
        past = same_user.loc[same_user["time_ms"] < row["time_ms"], "is_click"].tolist()
        if warm is not None:
            known = warm[(warm["user_id"] == row["user_id"]) & (warm["is_click"] >= 0)]
            past += known["is_click"].tolist()
        assert counts[label] == len(past)
        assert rates[label] == pytest.approx((sum(past) + overall) / (len(past) + 1))


def test_a_frozen_rate_is_one_number_a_user(frame):
    split = Split(frame[:60], frame[60:90], frame[90:])
    table = artefact_rows(frame, split, "is_click", None).set_index(["split", "metric"])["value"]
    assert table["test", "gauc_frozen"] == table["validation", "gauc_frozen"] == 0.5
    rates, _ = past_rates(frame, "is_click", None)
    expected = roc_auc_score(frame[90:]["is_click"], rates.loc[frame[90:].index])
    assert table["test", "auc"] == pytest.approx(expected)
