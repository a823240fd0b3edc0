"""A log in seconds, microseconds or nanoseconds had ages that were wrong by a factor."""

import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    DateTimeFeature,
    FeatureSchema,
    History,
    SincePrevious,
)
from keras_infnet.data import FeatureEncoder, Histories, frame_to_request

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(1, 30, 600),
            "video_id": rng.integers(1, 40, 600),
            "time_ms": 1_650_000_000_000 + np.arange(600) * 60_000,
        }
    )
    frame["click"], frame["like"] = rng.integers(0, 2, (2, 600))
    return frame.assign(clock=frame.time_ms)


FORMS = {
    "ms": lambda t: t,
    "s": lambda t: t // 1000,
    # Datetimes of pandas 3 are microseconds, so that this idiom of pandas 2 gives seconds.
    "astype(int64) // 10**6": lambda t: (
        pd.to_datetime(pd.to_datetime(t, unit="ms").astype(str)).astype("int64") // 10**6
    ),
    "us": lambda t: t * 1000,
    "ns": lambda t: t * 10**6,
    "datetimes": lambda t: pd.to_datetime(t, unit="ms"),
}


@pytest.mark.parametrize("form", FORMS)
def test_ages_times_and_requests_are_the_same_in_every_unit(log, form):
    def request(frame):
        schema = FeatureSchema(
            [
                CategoricalFeature("user_id", "user", dtype="int"),
                CategoricalFeature("video_id", "item", dtype="int"),
                DateTimeFeature("clock", "context", zone="Asia/Tokyo"),
            ],
            [BinaryTask("click")],
            [
                History(
                    "seen",
                    ("video_id", "clock"),
                    max_length=5,
                    quantities=(Age(), SincePrevious()),
                )
            ],
        )
        encoder = FeatureEncoder(schema).fit(frame)
        attached = Histories(encoder, frame).attach(frame)
        packed = encoder.transform(attached)
        return frame_to_request(encoder.schema, attached), packed

    times = FORMS[form](log.time_ms)
    found, packed = request(log.assign(time_ms=times, clock=times))
    right, right_packed = request(log)
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    for name, values in right_packed.items():
        np.testing.assert_array_equal(packed[name], values, err_msg=name)
    # Row 599 of the log, by a loop.
    user = log[log.user_id == log.user_id[599]]
    ages = (log.time_ms[599] - user.time_ms.iloc[:-1]) // 1000
    assert found["seen_age_seconds"][599].tolist() == ages.tolist()[-5:]
    since = user.time_ms.diff().iloc[:-1] // 1000
    assert found["seen_since_previous_seconds"][599].tolist() == since.tolist()[-5:]
    assert found["clock"][599] == log.time_ms[599]
