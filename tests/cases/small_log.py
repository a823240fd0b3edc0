"""The small log of the cases that go on training."""

import numpy as np
import pandas as pd

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema


def log(rows=600):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user_id": draw.integers(1, 30, rows), "video_id": draw.integers(1, 40, rows)}
    )
    frame["click"], frame["like"] = draw.integers(0, 2, (2, rows))
    return frame


def schema(*tasks, feature="user_id"):
    """Tasks in an order that is not that of the alphabet."""
    tasks = [BinaryTask(task) for task in tasks or ("like", "click")]
    owner = "item" if feature == "video_id" else "user"
    return FeatureSchema([CategoricalFeature(feature, owner, dtype="int")], tasks, time_key=None)
