"""Two users with four rows each, and the histories that rows see."""

import numpy as np
import pandas as pd

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History
from keras_infnet.data import FeatureEncoder, Histories

START = 1_700_000_000_000


def schema(**kwargs):
    seen = History("seen", ("video_id",), max_length=4)
    video = CategoricalFeature("video_id", "item", dtype="int")
    return FeatureSchema([video], [BinaryTask("click")], [seen], **kwargs)


def log():
    return pd.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2, 2, 2, 2],
            "time_ms": START + np.tile(np.arange(1, 5), 2) * 1000,
            "video_id": [10, 11, 12, 13, 10, 11, 14, 15],
            "click": [0, 1, 0, 1, 1, 0, 1, 0],
            "w": 1.0,
        }
    )


def seen(log, rows, earlier=None, freeze_at=None, **kwargs):
    """Videos and ages of each row's history."""
    encoder = FeatureEncoder(schema(**kwargs)).fit(log)
    found = Histories(encoder, log, earlier).attach(rows, freeze_at)
    return [
        list(zip(map(int, videos), map(int, ages), strict=True))
        for videos, ages in zip(found.seen_video_id, found.seen_age_seconds, strict=True)
    ]
