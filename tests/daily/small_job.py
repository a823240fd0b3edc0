"""Simulated days whose items come and go, a tiny model on them, and a job of three days."""

import datetime

import keras
import numpy as np
import pandas as pd

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    CountFeature,
    FeatureSchema,
    History,
    NumericFeature,
)
from keras_infnet.daily import DailyConfig, DailyJob

FIRST = datetime.date(2026, 11, 1)
ROWS = 400
# TensorFlow is slow with compilation, JAX without.
JIT = keras.backend.backend() == "jax"


def day_name(number):
    return (FIRST + datetime.timedelta(number)).isoformat()


def schema():
    return FeatureSchema(
        features=[
            CategoricalFeature("user_id", "user"),
            CategoricalFeature("video_id", "item", dtype="int"),
            NumericFeature("length", "item", buckets=4, allow_missing=True),
            CountFeature("seen_before", "user", buckets=4),
        ],
        tasks=[BinaryTask("click"), BinaryTask("like", observed_when="click")],
        histories=[History("seen", ("video_id",), max_length=3, actions=("click",))],
    )


def day_frame(number, rows=ROWS, seed=0):
    """Rows of a day; each has three users and five videos that the day before had not."""
    draw = np.random.default_rng([number, seed])
    midnight = pd.Timestamp(FIRST + datetime.timedelta(number), tz="UTC").value // 10**6
    frame = pd.DataFrame(
        {
            "user_id": 3 * number + draw.integers(0, 30, rows),
            "video_id": 5 * number + draw.integers(0, 20, rows),
            "time_ms": midnight + np.sort(draw.integers(0, 86_400_000, rows)),
            "length": draw.lognormal(size=rows),
        }
    )
    liked = (frame["video_id"] % 3 == 0) | (frame["user_id"] % 4 == 0)
    frame["click"] = (draw.random(rows) < np.where(liked, 0.7, 0.25)).astype("int64")
    frame["like"] = (draw.random(rows) < np.where(liked, 0.6, 0.3)).astype("int64")
    return frame


def write_days(folder, days=3):
    """Logs of days, of which the second is CSV; their pattern."""
    logs = folder / "logs"
    for number in range(days):
        (logs / day_name(number)).mkdir(parents=True, exist_ok=True)
        write_day(logs, day_name(number), day_frame(number), is_csv=number == 1)
    return logs


def write_day(logs, day, frame, name="log", is_csv=False):
    (logs / day).mkdir(parents=True, exist_ok=True)
    if is_csv:
        frame.to_csv(logs / day / f"{name}.csv", index=False)
    else:
        frame.to_parquet(logs / day / f"{name}.parquet", index=False)


def small_config(folder, logs, **changes):
    """A job that publishes whatever it trains, unless that is changed."""
    parts = {
        "model": {"name": "FM", "arguments": {"dim": 4}},
        "training": {"batch_size": 64, "holdout": 0.25, "checkpoint_every": 3, "jit_compile": JIT},
        "gate": {"least": -1.0},
        "calibration": {"method": "none"},
        "export": {},
        "schema": schema(),
    }
    return DailyConfig(folder=folder, log=f"{logs}/{{day}}", **{**parts, **changes})


def small_job(folder, logs, **changes):
    events = []
    job = DailyJob(small_config(folder, logs, **changes), events.append)
    return job, events
