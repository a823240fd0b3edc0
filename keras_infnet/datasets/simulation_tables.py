"""Simulated users, videos and impressions in the columns of KuaiRand's files."""

import numpy as np
import pandas as pd

from keras_infnet.datasets.kuairand_columns import FEEDBACKS, STATISTICS
from keras_infnet.datasets.simulation_feedback import FEEDBACK_NAMES
from keras_infnet.datasets.simulation_rounds import Impressions
from keras_infnet.datasets.simulation_timeline import Timeline
from keras_infnet.datasets.simulation_world import (
    NUM_GENEROSITY_LEVELS,
    NUM_PREFERENCE_LEVELS,
    NUM_SEGMENTS,
    World,
)

_ACTIVITY = ("middle_active", "high_active", "full_active")
_UPLOAD_TYPES = ("LongImport", "Web", "ShortImport", "Kmovie", "LongCamera", "PictureSet")
_NUM_TABS = 5
# Numbers of values of the one-hot-coded fields; -1: zeros and ones, missing for some users.
_ONE_HOT_VALUES = (2, NUM_SEGMENTS, 50, 1471, 15, 34, NUM_GENEROSITY_LEVELS, 118, 454)
_ONE_HOT_VALUES += (NUM_PREFERENCE_LEVELS, 5, 5, -1, -1, -1, -1, -1, -1)
_MISSING_SHARE = 0.03
# Edges and names of each count's range, and the median count.
_RANGES = {
    "follow_user_num": (
        (0, 10, 50, 100, 150, 250, 500),
        ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+"),
        150,
    ),
    "fans_user_num": (
        (0, 9, 99, 999, 4999, 9999, 99999),
        ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)", "[10w,100w)"),
        50,
    ),
    "friend_user_num": (
        (0, 4, 29, 59, 119, 249),
        ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+"),
        16,
    ),
    "register_days": (
        (30, 60, 90, 180, 365, 730),
        ("15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+"),
        1000,
    ),
}


def user_table(world: World, timeline: Timeline, rng: np.random.Generator) -> pd.DataFrame:
    """Columns of `user_features_*.csv`.

    Segment, generosity and preferred duration are `onehot_feat1`, `onehot_feat6` and
    `onehot_feat9`. The other fields say nothing about feedback.
    """
    users, n = world.users, len(world.users.user_id)
    level = np.digitize(timeline.count, np.quantile(timeline.count, [0.25, 0.5]))
    table = {
        "user_id": users.user_id,
        "user_active_degree": np.array(_ACTIVITY)[level],
        "is_lowactive_period": np.zeros(n, int),
        "is_live_streamer": np.where(rng.random(n) < 0.2, 0, -124),
        "is_video_author": (rng.random(n) < 0.8).astype(int),
    }
    for column, (edges, names, median) in _RANGES.items():
        count = np.floor(median * np.exp(1.5 * rng.normal(size=n))).astype(int)
        table[column] = np.clip(count, 15, 3600) if column == "register_days" else count
        table[f"{column}_range"] = np.array(names)[np.digitize(table[column], edges, right=True)]
    informed = {1: users.segment, 6: users.generosity, 9: users.preference}
    for i, values in enumerate(_ONE_HOT_VALUES):
        table[f"onehot_feat{i}"] = informed.get(i, rng.integers(abs(values) + (values < 0), size=n))
        if values < 0:
            table[f"onehot_feat{i}"] = _with_missing(table[f"onehot_feat{i}"], rng)
    return pd.DataFrame(table).sort_values("user_id", ignore_index=True)


def video_table(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Columns of `video_features_basic_*.csv`; the first tag is the topic, a second is noise."""
    videos, n = world.videos, len(world.videos.topic)
    topic = pd.Series(videos.topic.astype(str))
    second = topic.iloc[rng.integers(n, size=n)].to_numpy()
    days = pd.Timestamp("2022-04-08") + pd.to_timedelta(rng.integers(4, size=n), unit="D")
    table = {
        "video_id": np.arange(n),
        "author_id": videos.author,
        "video_type": np.where(rng.random(n) < 0.01, "AD", "NORMAL"),
        "upload_dt": days.strftime("%Y-%m-%d"),
        "upload_type": np.array(_UPLOAD_TYPES)[videos.upload_type],
        "visible_status": np.zeros(n),
        "video_duration": videos.duration_ms.astype(float),
        "server_width": np.where(rng.random(n) < 0.8, 720.0, 960.0),
        "server_height": np.full(n, 1280.0),
        "music_id": 9_000_000_000 + videos.music,
        "music_type": _with_missing(rng.choice([4, 9, 11], n, p=[0.1, 0.8, 0.1]), rng),
        "tag": topic.where(rng.random(n) < 0.75, topic + "," + second),
    }
    return pd.DataFrame(table)


def log_table(
    world: World, timeline: Timeline, impressions: Impressions, rng: np.random.Generator
) -> pd.DataFrame:
    """Columns of the logs, in the order of the timeline."""
    given = dict(zip(FEEDBACK_NAMES, impressions.feedback.astype("int8").T, strict=True))
    n, duration = len(impressions.video), world.videos.duration_ms[impressions.video]
    play = np.floor(_play_ratio(given["click"], given["long_view"], rng) * duration)
    stay = np.floor(rng.exponential(8_000, (2, n))).astype("int64")
    table = {
        "user_id": world.users.user_id[timeline.user],
        "video_id": impressions.video,
        "date": timeline.date,
        "hourmin": timeline.hour * 100,
        "time_ms": timeline.time_ms,
        **{FEEDBACKS[name]: given[name] for name in FEEDBACK_NAMES if name != "profile_enter"},
        "play_time_ms": play.astype("int64"),
        "duration_ms": duration,
        "profile_stay_time": stay[0] * given["profile_enter"],
        "comment_stay_time": stay[1] * given["comment"],
        "is_profile_enter": given["profile_enter"],
        "is_rand": timeline.is_random.astype("int8"),
        "tab": np.minimum(rng.geometric(0.7, n), _NUM_TABS) % _NUM_TABS,
    }
    return pd.DataFrame(table)


def statistics_table(log: pd.DataFrame, items: int) -> pd.DataFrame:
    """Columns of `video_features_statistic_*.csv`: daily means over the whole log, so they leak.

    What the simulated log has no event for, such as downloads, is 0.
    """
    days = log["date"].nunique()
    events = {
        "show": pd.Series(1, log.index),
        "play": log["is_click"],
        "long_time_play": log["long_view"],
        "short_time_play": log["is_click"] * (1 - log["long_view"]),
        "like": log["is_like"],
        "comment": log["is_comment"],
        "follow": log["is_follow"],
        "share": log["is_forward"],
        "report": log["is_hate"],
    }
    table = {"video_id": np.arange(items), **dict.fromkeys(STATISTICS, np.zeros(items))}
    for name, happened in events.items():
        where = log.loc[happened == 1, ["video_id", "user_id"]]
        users = where.drop_duplicates()
        table[f"{name}_cnt"] = np.bincount(where["video_id"], minlength=items) / days
        table[f"{name}_user_num"] = np.bincount(users["video_id"], minlength=items) / days
    played = np.bincount(log["video_id"], log["play_time_ms"], minlength=items)
    whole = np.bincount(log["video_id"], log["duration_ms"], minlength=items)
    table |= {"counts": np.full(items, days), "play_duration": played / days}
    table["play_progress"] = np.divide(played, whole, out=np.zeros(items), where=whole > 0)
    return pd.DataFrame(table)


def _play_ratio(click: np.ndarray, long_view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(click)
    viewed = np.clip(0.9 * np.exp(0.35 * rng.normal(size=n)), 0.5, 5)
    left = np.where(click == 1, 0.6 * rng.beta(2, 4, n), rng.beta(1, 12, n))
    return np.where(long_view == 1, viewed, left)


def _with_missing(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(values)) < _MISSING_SHARE, np.nan, values)
