"""Small made logs, one with every kind of feature, for tests of encoder, pipelines and serving."""

import numpy as np
import pandas as pd

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    DenseFeature,
    FeatureSchema,
    History,
    HistoryGroup,
    NumericFeature,
    RankingData,
    Ratio,
)

ACTIONS = ("is_click", "is_like")


def log_schema(max_length=5, entire_space=False, **kwargs):
    return FeatureSchema(
        features=[
            CategoricalFeature("user_id", "user", dtype="int", min_frequency=2),
            CategoricalFeature("country", "user"),
            CategoricalFeature("video_id", "item", dtype="int"),
            CategoricalFeature("page_id", "item", dtype="int", hash_buckets=20),
            CategoricalFeature("query", "context", oov_buckets=3, min_frequency=2),
            CategoricalFeature("tag", "item", max_values=3, separator=","),
            CategoricalFeature("word", "context", max_values=2, weights="word_weight"),
            NumericFeature("length", "item", buckets=6, allow_missing=True),
            NumericFeature("fans", "user", buckets=6, bucketing="log"),
            DenseFeature("image", "item", dim=3),
        ],
        histories=[
            History(
                "seen",
                ("video_id", "tag", "length", "page_id"),
                max_length=max_length,
                actions=ACTIONS,
                quantities=(Ratio("play_ms", "length_ms"), Age()),
                groups=(
                    HistoryGroup("all"),
                    HistoryGroup("click", any_of=("is_click",)),
                    HistoryGroup("skip", none_of=("is_click",)),
                ),
            ),
            History("liked", ("video_id",), max_length=3, where="is_like"),
        ],
        tasks=[
            BinaryTask("click", "is_click"),
            BinaryTask("like", "is_like", observed_when="is_click", entire_space=entire_space),
        ],
        **kwargs,
    )


def viewed_videos(rows=200):
    """Data of one user and one video feature, one history of videos and one task, all integers."""
    draw = np.random.default_rng(0).integers
    log = pd.DataFrame({"user_id": draw(1, 9, rows), "video_id": draw(1, 30, rows)})
    log["time_ms"] = 1_750_000_000_000 + 60_000 * np.arange(rows)
    log["click"] = draw(2, size=rows)
    schema = FeatureSchema(
        [CategoricalFeature("user_id", "user"), CategoricalFeature("video_id", "item")],
        [BinaryTask("click")],
        [History("seen", ("video_id",), max_length=4)],
    )
    return RankingData(schema, log, batch_size=50)


def funnel_log(**kwargs):
    """A log in which nobody likes what he did not click, for `log_schema(entire_space=True)`."""
    log = make_log(**kwargs)
    return log.assign(is_like=log["is_like"] * log["is_click"])


def make_log(rows=200, seed=0, users=12):
    rng = np.random.default_rng(seed)
    words = [list(rng.choice(list("abcd"), n)) for n in rng.integers(0, 4, rows)]
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, users, rows),
            "time_ms": 1_650_000_000_000 + rng.integers(0, 40, rows) * 1500,
            "country": rng.choice(["NL", "PT", "日本", None], rows),
            "video_id": rng.integers(0, 30, rows),
            "page_id": rng.integers(0, 1000, rows),
            "query": rng.choice(["", "a", "b", "rare" + str(seed), None], rows),
            "tag": rng.choice(["1,2", "3", "", None, "1, 2 ,3,4"], rows),
            "word": words,
            "word_weight": [list(rng.random(len(w)).astype("float32")) for w in words],
            "length": np.where(rng.random(rows) < 0.2, np.nan, rng.lognormal(size=rows)),
            "fans": rng.integers(0, 1000, rows),
            "image": list(rng.normal(size=(rows, 3)).astype("float32")),
            "is_click": rng.integers(0, 2, rows),
            "is_like": rng.integers(0, 2, rows),
            "play_ms": rng.integers(0, 60_000, rows),
            "length_ms": rng.choice([0, 10_000, 30_000], rows),
        }
    )
