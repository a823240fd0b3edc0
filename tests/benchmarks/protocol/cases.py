"""Made-up plans, records and predictions for tests of the accuracy benchmark."""

import numpy as np
import pandas as pd

TASKS = ("click", "like")


def make_plan(**changes):
    from benchmarks.protocol.plan import Plan

    given = {
        "models": ("INFNet", "SharedBottom"),
        "histories": ("exposures",),
        "members": (1,),
        "trials": 2,
        "seeds": 2,
        "tasks": TASKS,
        "data": "0123456789ab",
    }
    return Plan(**{**given, **changes})


def make_predictions(seed=0, users=12, rows=150):
    """Rows of a few users and days, with rounded scores, so that there are ties."""
    rng = np.random.default_rng(seed)
    rows_of = np.random.default_rng(99)
    frame = pd.DataFrame(
        {
            "user_id": rows_of.integers(0, users, rows),
            "time_ms": np.arange(rows),
            "video_id": rows_of.integers(0, 20, rows),
            "date": rows_of.integers(20220505, 20220507, rows),
        }
    )
    for task in TASKS:
        frame[f"{task}_label"] = rows_of.integers(0, 2, rows).astype("int8")
        for column in (task, f"{task}_frozen"):
            frame[column] = rng.random(rows).round(1).clip(0.05, 0.95).astype("float32")
    return frame
