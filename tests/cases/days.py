"""Days of a log with churn: new users, videos and combinations of actions, and old ones."""

import numpy as np
import pandas as pd

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    History,
    NumericFeature,
)
from keras_infnet.data import Histories

DAY = 86_400_000
START = 1_750_000_000_000


def log(day, rows=90):
    """A day's rows; videos `10 d` to `10 d + 19` are shown on day `d`, each of one author."""
    draw = np.random.default_rng(day)
    frame = pd.DataFrame({"user_id": draw.integers(1, 9, rows) + 3 * day})
    frame["time_ms"] = START + day * DAY + np.sort(draw.integers(0, DAY // 1000, rows)) * 1000
    frame["video_id"] = draw.integers(0, 20, rows) + 10 * day
    frame["author_id"] = ("author " + (frame.video_id % 6).astype(str)).astype(object)
    frame["tag"] = [list(draw.integers(0, 5, n) + day) for n in draw.integers(0, 4, rows)]
    frame["page"] = draw.integers(0, 1000, rows)
    frame["seconds"] = draw.normal(size=rows)
    frame["click"] = draw.integers(0, 2, rows)
    # On the first day nobody likes what he does not click.
    frame["like"] = draw.integers(0, 2, rows) * (frame.click | (day > 0))
    return frame


def schema():
    return FeatureSchema(
        [
            CategoricalFeature("user_id", "user"),
            CategoricalFeature("video_id", "item"),
            CategoricalFeature("author_id", "item"),
            CategoricalFeature("tag", "item", max_values=3, oov_buckets=2),
            CategoricalFeature("page", "context", hash_buckets=8),
            NumericFeature("seconds", "item", buckets=4),
        ],
        [BinaryTask("click"), BinaryTask("like")],
        [
            History("seen", ("video_id", "tag"), max_length=4, actions=("click", "like")),
            History("liked", ("video_id", "tag"), max_length=3, where="like"),
        ],
    )


def inputs(encoder, *days):
    """Packed inputs of days, with their histories."""
    rows = pd.concat([log(day) for day in days], ignore_index=True)
    return encoder.transform(Histories(encoder, rows).attach(rows))


def labels(rows=90):
    draw = np.random.default_rng(5)
    return {task: draw.integers(0, 2, (rows, 1)).astype("float32") for task in ("click", "like")}
