"""The simulated impressions: what is shown, how likely each feedback is, and what is given."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.datasets.kuairand_files import FEEDBACKS
from keras_infnet.datasets.simulation_world import SimulationSettings, Timeline, World

FEEDBACK_NAMES = tuple(FEEDBACKS)
# Base log odds, and weights of (interest, loyalty, viewing), by feedback.
_ODDS = {
    "click": (-0.1, (1, 0, 0)),
    "like": (-4.0, (0, 1, 0)),
    "follow": (-6.5, (0, 0.8, 0)),
    "comment": (-6.0, (0.2, 0.5, 0)),
    "forward": (-6.8, (0.2, 0.5, 0)),
    "hate": (-7.0, (-0.7, -0.3, 0)),
    "long_view": (-0.65, (0, 0, 1)),
    "profile_enter": (-4.3, (0.2, 0.6, 0)),
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

    `counts` is 0 for random exposures, which enter no utility.
    """

    video: np.ndarray
    hours: np.ndarray
    counts: np.ndarray
    feedback: np.ndarray

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
    users, videos = world.users, world.videos
    click, like, long_view = (past.given(name) for name in ("click", "like", "long_view"))
    # Place of each event that counts: 1 for the newest.
    position = np.cumsum(past.counts[:, ::-1], axis=1)[:, ::-1]

    def shared(by_video: np.ndarray) -> np.ndarray:
        """1 where an event that counts and the video shown have the same value."""
        return (by_video[past.video] == by_video[video][:, None]) * past.counts

    topic, same_topic = videos.topic[video], shared(videos.topic)
    recent = same_topic * np.exp2(-past.hours / settings.topic_half_life)
    clicked = (recent * click).sum(axis=1)
    skipped = recent.sum(axis=1) - clicked
    tired = (same_topic * (position <= _RECENT_TOPICS)).sum(axis=1)
    shown = ((past.video == video[:, None]) * past.counts).sum(axis=1)
    interest = (
        settings.topic_click * np.log1p(clicked)
        - settings.topic_skip * np.log1p(np.maximum(skipped, 0))
        - settings.fatigue * tired
        - settings.repeat * np.minimum(shown, 2)
        + settings.daypart * np.cos((hour - world.topic_hour[topic]) * 2 * np.pi / 24)
        + world.taste[users.segment[user], topic]
    )

    same_author, same_music = shared(videos.author), shared(videos.music)
    strong = sum(weight * past.given(name) for name, weight in _STRONG.items())
    loyalty = (
        settings.author_strong * np.log1p((same_author * strong).sum(axis=1))
        - settings.author_ignored * np.log1p((same_author * (1 - like)).sum(axis=1))
        + settings.music_like * np.log1p((same_music * like).sum(axis=1))
        + settings.generosity * (users.generosity[user] - 1)
    )

    z, viewed = videos.z[video], long_view * past.counts
    weight = viewed * np.exp2((1 - position) / settings.preference_half_life)
    seen = (weight * videos.z[past.video]).sum(axis=1)
    preference = (users.preferred_duration[user] + seen) / (1 + weight.sum(axis=1))
    binge = (viewed * (position <= _RECENT_LONG_VIEWS)).sum(axis=1) / _RECENT_LONG_VIEWS
    viewing = (
        -settings.distance * np.minimum(4, (z - preference) ** 2)
        - settings.length * z
        + settings.binge * binge
        + settings.night * ((hour >= 22) | (hour < 2))
        + world.upload_effect[videos.upload_type[video]]
    )
    hidden = users.bias[user] + videos.quality[video]
    return hidden + np.stack([interest, loyalty, viewing], axis=1)


def log_odds(utility: np.ndarray, same_tasks: bool) -> np.ndarray:
    """Log odds of all feedbacks, without mood: `(impressions, 8)`."""
    base, mix = (np.array(part) for part in zip(*map(_ODDS.get, FEEDBACK_NAMES), strict=True))
    if same_tasks:
        return base + utility.sum(axis=1, keepdims=True) / np.sqrt(3)
    return base + utility @ mix.T


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
        self._total = np.append(0.0, np.cumsum(popularity[self._order]))
        self._bounds = np.append(0, np.cumsum(np.bincount(group)))

    def draw(self, group: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One video a group, from uniform numbers."""
        first, end = self._bounds[group], self._bounds[group + 1]
        low, high = self._total[first], self._total[end]
        place = np.searchsorted(self._total, low + uniform * (high - low), side="right") - 1
        return self._order[np.clip(place, first, end - 1)]


class Recommender:
    """Chooses videos: an earlier one, one of its author, one of its topic, or a popular one."""

    def __init__(self, world: World, settings: SimulationSettings) -> None:
        self._videos = videos = world.videos
        shares = (settings.repeat_share, settings.author_share, settings.topic_share)
        self._limits = np.cumsum(shares)
        groups = (np.zeros_like(videos.topic), videos.author, videos.topic)
        self._samplers = [GroupSampler(group, videos.popularity) for group in groups]

    def choose(self, past: Past, is_random: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One video an impression."""
        videos, n = self._videos, len(is_random)
        of_all, of_author, of_topic = self._samplers
        source, uniform, even = rng.random((3, n))
        chosen = of_all.draw(np.zeros(n, int), uniform)
        if past.video.shape[1]:
            earlier = _appealing(past, rng)
            by_author = of_author.draw(videos.author[earlier], uniform)
            by_topic = of_topic.draw(videos.topic[earlier], uniform)
            conditions = [source < limit for limit in self._limits]
            chosen = np.select(conditions, [earlier, by_author, by_topic], chosen)
        return np.where(is_random, (even * len(videos.topic)).astype(int), chosen)


def _appealing(past: Past, rng: np.random.Generator) -> np.ndarray:
    """The better received of two earlier videos."""
    n, events = past.video.shape
    rows, two = np.arange(n)[:, None], rng.integers(events, size=(n, 2))
    appeal = sum(w * past.given(name)[rows, two] for name, w in _APPEAL.items())
    return past.video[rows, two][rows[:, 0], np.argmax(appeal, axis=1)]


def run_rounds(
    world: World,
    timeline: Timeline,
    settings: SimulationSettings,
    same_tasks: bool,
    rng: np.random.Generator,
) -> Impressions:
    """Simulates all impressions; a round is one impression of each user who still has one."""
    rows, local_ms, hour = len(timeline.user), timeline.local_ms, timeline.hour
    video = np.zeros(rows, "int64")
    feedback, odds, truth = np.zeros((3, rows, len(FEEDBACK_NAMES)), "float32")
    recommender = Recommender(world, settings)
    for t in range(timeline.count.max()):
        user = np.arange(np.count_nonzero(timeline.count > t))
        now = timeline.start[user] + t
        earlier = now[:, None] + np.arange(-min(t, settings.window), 0)
        past = Past(
            video=video[earlier],
            hours=(local_ms[now][:, None] - local_ms[earlier]) / 3_600_000,
            counts=1 - timeline.is_random[earlier].astype("float32"),
            feedback=feedback[earlier],
        )
        video[now] = recommender.choose(past, timeline.is_random[now], rng)
        utility = utilities(world, settings, user, video[now], hour[now], past)
        odds[now] = log_odds(utility, same_tasks)
        mood = settings.mood * rng.normal(size=(len(user), 1))
        truth[now] = sigmoid(odds[now] + mood)
        feedback[now] = rng.random((len(user), len(FEEDBACK_NAMES))) < truth[now]
    return Impressions(video, feedback, truth, without_mood(odds, settings))
