"""The impressions themselves: in round t every user gets the t-th one."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.datasets.simulation_feedback import (
    FEEDBACK_NAMES,
    Past,
    log_odds,
    sigmoid,
    utilities,
    without_mood,
)
from keras_infnet.datasets.simulation_settings import SimulationSettings
from keras_infnet.datasets.simulation_timeline import Timeline
from keras_infnet.datasets.simulation_world import World

# How much a feedback draws later videos of the same author and topic.
_APPEAL = {"click": 1.0, "like": 4.0, "long_view": 1.0}


@dataclass(frozen=True)
class Impressions:
    """Impressions in the order of the timeline: `(rows,)` and `(rows, 8)`."""

    video: np.ndarray
    feedback: np.ndarray
    truth: np.ndarray
    best: np.ndarray


class GroupSampler:
    """Draws videos from a group (topic, author), in proportion to their popularity."""

    def __init__(self, group: np.ndarray, popularity: np.ndarray) -> None:
        self._order = np.argsort(group, kind="stable")
        self._total = np.concatenate([[0.0], np.cumsum(popularity[self._order])])
        numbers = np.arange(group.max() + 1)
        self._first = np.searchsorted(group[self._order], numbers, side="left")
        self._end = np.searchsorted(group[self._order], numbers, side="right")

    def draw(self, group: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One video a group, from uniform numbers."""
        first, end = self._first[group], self._end[group]
        low, high = self._total[first], self._total[end]
        place = np.searchsorted(self._total, low + uniform * (high - low), side="right") - 1
        return self._order[np.clip(place, first, end - 1)]


class Recommender:
    """Chooses videos: an earlier one, one of its author, one of its topic, or a popular one."""

    def __init__(self, world: World, settings: SimulationSettings) -> None:
        videos = world.videos
        self._videos, self._settings = videos, settings
        self._by_popularity = GroupSampler(np.zeros_like(videos.topic), videos.popularity)
        self._by_author = GroupSampler(videos.author, videos.popularity)
        self._by_topic = GroupSampler(videos.topic, videos.popularity)

    def choose(self, past: Past, is_random: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One video an impression."""
        settings, videos, n = self._settings, self._videos, len(is_random)
        source, uniform, even = rng.random((3, n))
        chosen = self._by_popularity.draw(np.zeros(n, int), uniform)
        if past.video.shape[1]:
            earlier = self._appealing(past, rng)
            limits = np.cumsum([settings.repeat_share, settings.author_share, settings.topic_share])
            by_topic = self._by_topic.draw(videos.topic[earlier], uniform)
            by_author = self._by_author.draw(videos.author[earlier], uniform)
            conditions = [source < limit for limit in limits]
            chosen = np.select(conditions, [earlier, by_author, by_topic], chosen)
        return np.where(is_random, (even * len(videos.topic)).astype(int), chosen)

    def _appealing(self, past: Past, rng: np.random.Generator) -> np.ndarray:
        """The better received of two earlier videos."""
        rows, n = np.arange(len(past.video))[:, None], past.video.shape[1]
        two = rng.integers(n, size=(len(rows), 2))
        appeal = sum(w * past.given(name)[rows, two] for name, w in _APPEAL.items())
        return past.video[rows, two][rows[:, 0], appeal.argmax(axis=1)]


def run_rounds(
    world: World,
    timeline: Timeline,
    settings: SimulationSettings,
    same_tasks: bool,
    rng: np.random.Generator,
) -> Impressions:
    """Simulates all impressions; a round is one impression of each user who still has one."""
    rows = len(timeline.user)
    video = np.zeros(rows, "int64")
    feedback = np.zeros((rows, len(FEEDBACK_NAMES)), "float32")
    odds, truth = np.zeros((2, rows, len(FEEDBACK_NAMES)), "float32")
    recommender, hour = Recommender(world, settings), timeline.hour
    for t in range(timeline.count.max()):
        user = np.arange(np.count_nonzero(timeline.count > t))
        now = timeline.start[user] + t
        past = _past(timeline, video, feedback, now, min(t, settings.window))
        video[now] = recommender.choose(past, timeline.is_random[now], rng)
        utility = utilities(world, settings, user, video[now], hour[now], past)
        odds[now] = log_odds(utility, same_tasks)
        mood = settings.mood * rng.normal(size=(len(user), 1))
        truth[now] = sigmoid(odds[now] + mood)
        feedback[now] = rng.random((len(user), len(FEEDBACK_NAMES))) < truth[now]
    return Impressions(video, feedback, truth, without_mood(odds, settings))


def _past(
    timeline: Timeline, video: np.ndarray, feedback: np.ndarray, now: np.ndarray, length: int
) -> Past:
    earlier = now[:, None] + np.arange(-length, 0)
    ages = timeline.local_ms[now][:, None] - timeline.local_ms[earlier]
    counts = 1 - timeline.is_random[earlier].astype("float32")
    return Past(video[earlier], ages / 3_600_000, counts, feedback[earlier])
