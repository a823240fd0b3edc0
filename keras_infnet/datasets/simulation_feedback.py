"""The simulated impressions: what is shown, how likely each feedback is, and what is given."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_infnet.datasets.kuairand_files import FEEDBACKS
from keras_infnet.datasets.simulation_world import SimulationSettings, Timeline, World

FEEDBACK_NAMES = tuple(FEEDBACKS)
# Base log odds, and weights of (interest, loyalty, viewing), by feedback.
_BASE = {
    "click": -0.1,
    "like": -4.0,
    "follow": -6.5,
    "comment": -6.0,
    "forward": -6.8,
    "hate": -7.0,
    "long_view": -0.65,
    "profile_enter": -4.3,
}
_MIX = {
    "click": (1, 0, 0),
    "like": (0, 1, 0),
    "follow": (0, 0.8, 0),
    "comment": (0.2, 0.5, 0),
    "forward": (0.2, 0.5, 0),
    "hate": (-0.7, -0.3, 0),
    "long_view": (0, 0, 1),
    "profile_enter": (0.2, 0.6, 0),
}
_STRONG = {"like": 1, "follow": 2, "comment": 1, "forward": 1, "profile_enter": 1}
_RECENT_TOPICS = 5
_RECENT_LONG_VIEWS = 3
_QUADRATURE_NODES = 12
# How much a feedback draws later videos of the same author and topic.
_APPEAL = {"click": 1.0, "like": 4.0, "long_view": 1.0}


@dataclass(frozen=True)
class Past:
    """Earlier exposures, oldest first: arrays `(impressions, events)`, `feedback` with 8 more.

    `counts` is 0 for random exposures, which enter no utility; `position` is 1 for the newest
    exposure that counts.
    """

    video: np.ndarray
    hours: np.ndarray
    counts: np.ndarray
    feedback: np.ndarray

    @cached_property
    def position(self) -> np.ndarray:
        """Place of each event, counted from the newest, 1 on."""
        return np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1]

    def given(self, name: str) -> np.ndarray:
        """The feedback of this name."""
        return self.feedback[:, :, FEEDBACK_NAMES.index(name)]


def utilities(
    world: World,
    settings: SimulationSettings,
    user: np.ndarray,
    video: np.ndarray,
    hour: np.ndarray,
    past: Past,
) -> np.ndarray:
    """Interest, loyalty and viewing `(impressions, 3)`; SimulationSettings has the equations."""
    hidden = world.users.bias[user] + world.videos.quality[video]
    parts = (
        _interest(world, settings, user, video, hour, past),
        _loyalty(world, settings, user, video, past),
        _viewing(world, settings, user, video, hour, past),
    )
    return hidden + np.stack(parts, axis=1)


def log_odds(utility: np.ndarray, same_tasks: bool) -> np.ndarray:
    """Log odds of all feedbacks, without mood: `(impressions, 8)`."""
    base = np.array([_BASE[name] for name in FEEDBACK_NAMES])
    if same_tasks:
        return base + utility.sum(axis=1, keepdims=True) / np.sqrt(3)
    return base + utility @ np.array([_MIX[name] for name in FEEDBACK_NAMES]).T


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Probability of log odds."""
    return 1 / (1 + np.exp(-values))


def without_mood(odds: np.ndarray, settings: SimulationSettings) -> np.ndarray:
    """Mean probability over the mood, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_NODES)
    weights = weights / weights.sum()
    mean = np.zeros_like(odds)
    for node, weight in zip(nodes, weights, strict=True):
        mean += weight * sigmoid(odds + settings.mood * node)
    return mean


def _interest(
    world: World,
    settings: SimulationSettings,
    user: np.ndarray,
    video: np.ndarray,
    hour: np.ndarray,
    past: Past,
) -> np.ndarray:
    topic = world.videos.topic[video]
    same = (world.videos.topic[past.video] == topic[:, None]) * past.counts
    recent = same * np.exp2(-past.hours / settings.topic_half_life)
    clicked = (recent * past.given("click")).sum(axis=1)
    skipped = recent.sum(axis=1) - clicked
    tired = (same * (past.position <= _RECENT_TOPICS)).sum(axis=1)
    shown = ((past.video == video[:, None]) * past.counts).sum(axis=1)
    daypart = np.cos((hour - world.topic_hour[topic]) * 2 * np.pi / 24)
    return (
        settings.topic_click * np.log1p(clicked)
        - settings.topic_skip * np.log1p(np.maximum(skipped, 0))
        - settings.fatigue * tired
        - settings.repeat * np.minimum(shown, 2)
        + settings.daypart * daypart
        + world.taste[world.users.segment[user], topic]
    )


def _loyalty(
    world: World, settings: SimulationSettings, user: np.ndarray, video: np.ndarray, past: Past
) -> np.ndarray:
    videos = world.videos
    same_author = (videos.author[past.video] == videos.author[video][:, None]) * past.counts
    same_music = (videos.music[past.video] == videos.music[video][:, None]) * past.counts
    like = past.given("like")
    strong = sum(weight * past.given(name) for name, weight in _STRONG.items())
    return (
        settings.author_strong * np.log1p((same_author * strong).sum(axis=1))
        - settings.author_ignored * np.log1p((same_author * (1 - like)).sum(axis=1))
        + settings.music_like * np.log1p((same_music * like).sum(axis=1))
        + settings.generosity * (world.users.generosity[user] - 1)
    )


def _viewing(
    world: World,
    settings: SimulationSettings,
    user: np.ndarray,
    video: np.ndarray,
    hour: np.ndarray,
    past: Past,
) -> np.ndarray:
    z, position = world.videos.z[video], past.position
    viewed = past.given("long_view") * past.counts
    weight = viewed * np.exp2((1 - position) / settings.preference_half_life)
    seen = (weight * world.videos.z[past.video]).sum(axis=1)
    preference = (world.users.preferred_duration[user] + seen) / (1 + weight.sum(axis=1))
    binge = (viewed * (position <= _RECENT_LONG_VIEWS)).sum(axis=1) / _RECENT_LONG_VIEWS
    return (
        -settings.distance * np.minimum(4, (z - preference) ** 2)
        - settings.length * z
        + settings.binge * binge
        + settings.night * ((hour >= 22) | (hour < 2))
        + world.upload_effect[world.videos.upload_type[video]]
    )


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
