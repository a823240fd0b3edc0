"""Logs by day: KuaiRand's, and simulated ones whose users and items come and go."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.protocol.data import open_log
from benchmarks.protocol.logs import LOGS
from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, NumericFeature

# A row is new, or unseen, where the id of its user or item is.
NEW_IDS = ("user_id", "video_id")
_DAY_MS = 86_400_000
# KuaiRand's dates and hours are those of UTC+8.
_ZONE_MS = 8 * 3_600_000
_START_MS = pd.Timestamp("2026-11-01").value // 10**6
# Of simulated days: numbers of a taste, rows a user and a video have in a day, videos an author
# has, share of users and of videos that are new each day, and how far tastes move in a day.
_TASTES, _ROWS_A_USER, _ROWS_A_VIDEO, _VIDEOS_AN_AUTHOR = 8, 12, 25, 10
_NEW_SHARE, _DRIFT = 0.1, 0.1


@dataclass(frozen=True)
class DailyLog:
    """A log by day.

    Args:
        name: Name in the records.
        schema: The schema, not fitted.
        frames: Rows of each day in the order of time, by its date.
        ids: The features whose values come and go.
        warm: Events from before the first day.
    """

    name: str
    schema: FeatureSchema
    frames: dict[str, pd.DataFrame]
    ids: tuple[str, ...]
    warm: pd.DataFrame | None = None

    @property
    def earlier(self) -> dict[str, pd.DataFrame]:
        """Events from before the first day, by history."""
        warm = self.warm
        return {} if warm is None else {history.name: warm for history in self.schema.histories}

    def rows_by_kind(self, first_days: int) -> dict[str, dict[str, np.ndarray]]:
        """Rows by what is known of their user and video, bool, by kind and day.

        `"new"` ones have an id that an encoder of the first days does not know, `"unseen"` ones an
        id that an encoder of all rows before the day does not know. It knows what at least
        `min_frequency` of these rows, and of the events before them, have.

        Args:
            first_days: Days that the first model is trained on.
        """
        kinds = ("all", "new", "unseen")
        found = {
            kind: {d: np.zeros(len(f), bool) for d, f in self.frames.items()} for kind in kinds
        }
        found["all"] = {day: ~rows for day, rows in found["all"].items()}
        for name in NEW_IDS:
            least = self.schema.feature(name).min_frequency
            has_warm = self.warm is not None and name in self.warm
            counts = (self.warm if has_warm else pd.DataFrame({name: []}))[name].value_counts()
            of_first = counts
            for number, (day, rows) in enumerate(self.frames.items()):
                of_first = counts if number <= first_days else of_first
                for kind, before in (("new", of_first), ("unseen", counts)):
                    known = before.index[before >= least]
                    found[kind][day] |= ~rows[name].isin(known).to_numpy()
                counts = counts.add(rows[name].value_counts(), fill_value=0)
        return found

    def hashed(self) -> "DailyLog":
        """The same log with hashed ids: the next power of two buckets above all of its values."""

        def changed(feature: CategoricalFeature) -> CategoricalFeature:
            if feature.name not in self.ids:
                return feature
            values = pd.concat([rows[feature.name] for rows in self.frames.values()]).nunique()
            buckets = 1 << values.bit_length()
            return replace(feature, min_frequency=1, oov_buckets=1, hash_buckets=buckets)

        features = tuple(changed(feature) for feature in self.schema.features)
        return replace(self, schema=replace(self.schema, features=features))


def read_days(log: str, path: Path, first_days: int, most: int | None = None) -> DailyLog:
    """KuaiRand's days, with the features of the past that its comparisons have.

    Those know no ids, and are made once for all strategies; what is rare in them is learned from
    the first days.

    Args:
        log: `"kuairand"`, or `"kuairand-cold"` without events from before the log.
        path: Folder of the files.
        first_days: Days that the first model is trained on.
        most: How many days are read. Defaults to all.
    """
    found = LOGS[log]
    data = open_log(log, path, found.tasks)
    frame = data.frame().sort_values("time_ms", kind="stable")
    dates = pd.to_datetime(frame["date"].astype("str")).to_numpy().astype("datetime64[D]")
    known = dates.astype("int64")
    # By time, which goes on from day to day: a few rows are of another date than their time.
    days = ((frame["time_ms"] + _ZONE_MS) // _DAY_MS).clip(known.min(), known.max())
    numbers = np.sort(days.unique())[:most]
    if len(numbers) <= first_days:
        raise ValueError(
            f"{path} has {len(numbers)} days; expected more than the {first_days} first ones, "
            "which the first model is trained on. Give fewer --first-days."
        )
    frame = frame[days <= numbers[-1]].reset_index(drop=True)
    days = days[days <= numbers[-1]].to_numpy()
    boundary = int(frame["time_ms"][days == numbers[first_days]].min())
    schema = found.schema(data)
    rates = keras_infnet.RankingData(schema, frame, validation=boundary).rates
    frame = frame if rates is None else rates.attach(frame)
    ids = ("user_id", "video_id", "author_id", "music_id")
    frames = {_date(n): frame[days == n].reset_index(drop=True) for n in numbers}
    return DailyLog(path.resolve().name, schema, frames, ids, found.warm_events(data))


def simulate_days(rows: int, days: int = 10, seed: int = 0) -> DailyLog:
    """Days of a feed whose users and videos come and go.

    A tenth of the users and of the videos of a day were not there the day before, and as many are
    gone. `click = sigmoid(1.5 u v + a_user + q_video - 0.5)` and `like`, with other weights of the
    same tastes, of the user's taste `u`, which moves a little each day, and the video's `v`, which
    is its author's and some more.

    Args:
        rows: Rows of a day.
        days: Number of days.
        seed: Seed of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    num_users, new_users = _sizes(rows, _ROWS_A_USER)
    num_videos, new_videos = _sizes(rows, _ROWS_A_VIDEO)
    users = _users(rng, num_users + (days - 1) * new_users)
    videos = _videos(rng, num_videos + (days - 1) * new_videos)
    frames = {}
    for day in range(days):
        moved = rng.normal(size=users["taste"].shape)
        users["taste"] = np.sqrt(1 - _DRIFT**2) * users["taste"] + _DRIFT * moved
        user = _draw(rng, users["weight"], day * new_users, num_users, rows)
        video = _draw(rng, videos["weight"], day * new_videos, num_videos, rows)
        frames[_date((_START_MS // _DAY_MS) + day)] = _day_frame(
            rng, day, users, videos, user, video
        )
    ids = ("user_id", "video_id", "author_id")
    return DailyLog(f"simulated-{rows}", _simulated_schema(), frames, ids)


def _sizes(rows: int, rows_of_one: int) -> tuple[int, int]:
    """How many there are in a day, and how many of them are new."""
    number = max(10, rows // rows_of_one)
    return number, max(1, round(_NEW_SHARE * number))


def _users(rng: np.random.Generator, number: int) -> dict[str, np.ndarray]:
    taste = rng.normal(size=(number, _TASTES))
    return {
        "id": 10_000 + rng.permutation(number),
        "taste": taste,
        "country": np.array(["NL", "PT", "JP", "BR"])[2 * (taste[:, 0] > 0) + (taste[:, 1] > 0)],
        "bias": 0.5 * rng.normal(size=number),
        "weight": rng.lognormal(sigma=0.7, size=number),
    }


def _videos(rng: np.random.Generator, number: int) -> dict[str, np.ndarray]:
    authors = max(2, number // _VIDEOS_AN_AUTHOR)
    author, tastes = rng.integers(0, authors, number), rng.normal(size=(authors, _TASTES))
    taste = 0.8 * tastes[author] + 0.6 * rng.normal(size=(number, _TASTES))
    return {
        "id": 50_000 + rng.permutation(number),
        "author": author,
        "taste": taste / np.sqrt(_TASTES),
        "category": tastes.argmax(1)[author],
        "duration": rng.lognormal(3.0, 0.8, number),
        "quality": 0.7 * rng.normal(size=(number, 2)),
        "weight": rng.lognormal(sigma=1.0, size=number),
    }


def _draw(
    rng: np.random.Generator, weights: np.ndarray, first: int, number: int, rows: int
) -> np.ndarray:
    """Who is in each row of a day, of those who are there then."""
    there = weights[first : first + number]
    return first + rng.choice(number, rows, p=there / there.sum())


def _day_frame(
    rng: np.random.Generator,
    day: int,
    users: dict[str, np.ndarray],
    videos: dict[str, np.ndarray],
    user: np.ndarray,
    video: np.ndarray,
) -> pd.DataFrame:
    """Rows of a day in the order of time."""
    products = users["taste"][user] * videos["taste"][video]
    quality, bias = videos["quality"][video], users["bias"][user]
    click = 1.5 * products.sum(1) + bias + quality[:, 0] - 0.5
    like = 2.0 * products[:, ::2].sum(1) + bias + quality[:, 1] - 1.5

    def drawn(logits: np.ndarray) -> np.ndarray:
        return (rng.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype("int8")

    times = rng.integers(0, _DAY_MS, len(user))
    return pd.DataFrame(
        {
            "user_id": users["id"][user],
            "country": users["country"][user],
            "video_id": videos["id"][video],
            "author_id": videos["author"][video],
            "category": videos["category"][video],
            "duration": videos["duration"][video],
            "time_ms": _START_MS + day * _DAY_MS + np.sort(times),
            "click": drawn(click),
            "like": drawn(like),
        }
    )


def _simulated_schema() -> FeatureSchema:
    return FeatureSchema(
        features=[
            # Ids that one row has train what a model says of unknown ones.
            CategoricalFeature("user_id", "user", dtype="int", min_frequency=2),
            CategoricalFeature("country", "user"),
            CategoricalFeature("video_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature("author_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature("category", "item", dtype="int"),
            NumericFeature("duration", "item", buckets=16),
        ],
        tasks=[BinaryTask("click"), BinaryTask("like")],
        histories=[
            History(
                "seen", ("video_id", "author_id", "category"), max_length=20, actions=("click",)
            )
        ],
    )


def _date(number: int) -> str:
    """The date of a number of days since 1970."""
    return str(np.datetime64(int(number), "D"))
