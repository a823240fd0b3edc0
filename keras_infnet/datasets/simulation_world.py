"""The simulated world: its parameters, users and videos, and when users come."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad

NUM_SEGMENTS = 7
NUM_GENEROSITY_LEVELS = 3
NUM_PREFERENCE_LEVELS = 7
NUM_UPLOAD_TYPES = 6
MEDIAN_SECONDS = 40.0
LOG_SECONDS_SPREAD = 0.9
LAST_DAY = pd.Timestamp("2022-05-08")
SECOND_LOG_START = pd.Timestamp("2022-04-22")
UTC_OFFSET_MS = 8 * 3_600_000
DAY_MS = 86_400_000
# Share of sessions that start in each hour: a low night, a noon and an evening peak.
HOUR_WEIGHTS = (
    *(2.5, 1.5, 1, 0.6, 0.5, 0.7, 1.5, 2.5, 3.2, 3.6, 4, 4.6),
    *(5.6, 5.2, 4.5, 4.3, 4.4, 4.8, 5.5, 6.4, 7.2, 7.4, 6.2, 4.3),
)


@dataclass(frozen=True)
class SimulationSettings:
    """Parameters of the world that `simulate` draws logs from.

    Each impression has three utilities, in units of the log odds: `interest` (the topic), `loyalty`
    (the author and the music) and `viewing` (the duration). Sums run over the user's last `window`
    exposures before the impression; `[.]` is 1 where the condition holds, else 0.

    - interest = `topic_click` log(1 + sum [same topic] click h) - `topic_skip` log(1 + sum [same
      topic] (1 - click) h) - `fatigue` (same topic among the last 5) - `repeat` min(2, times the
      video was shown) + `daypart` cos(hour - the topic's hour) + taste of the user's segment,
      with h = 2^(-age / `topic_half_life`);
    - loyalty = `author_strong` log(1 + sum [same author] (like + 2 follow + comment + forward +
      profile_enter)) - `author_ignored` log(1 + sum [same author] (1 - like)) + `music_like`
      log(1 + sum [same music] like) + generosity of the user's level;
    - viewing = -`distance` min(4, (z - preference)^2) - `length` z + `binge` (share of long views
      among the last 3) + `night` (22 to 2 o'clock) + effect of the upload type, with z the
      standardised log duration and preference the mean of the user's prior (weight 1) and of the
      z of long views, the p-th newest exposure with weight 2^(-(p - 1) / `preference_half_life`).

    Each utility also has a hidden bias of the user and a hidden quality of the video. The log odds
    of click, like and long_view are their base plus interest, loyalty and viewing; the other
    feedbacks mix them. With `same_tasks` all log odds are their base plus the same mean of the
    three, times `sqrt(3)`. One hidden normal mood an impression, times `mood`, is added to all of
    its log odds.

    Args:
        days: Days of the log, the last one 2022-05-08; 1 to 31.
        random_share: Rows of the random-exposure log, as a share of the standard rows. Its videos
            are drawn evenly, and enter no utility.
        session_length: Mean number of impressions in a session.
        activity_spread: Standard deviation of the logarithm of a user's activity.
        topics: Number of topics (first value of `tag`).
        items_per_author: Mean number of videos an author has.
        items_per_music: Mean number of videos that use a piece of music.
        zipf_exponent: Popularity of the r-th video is `r ** -zipf_exponent`.
        repeat_share: Share of impressions that show an earlier video again.
        author_share: Share that shows a video of an earlier author.
        topic_share: Share that shows a video of an earlier topic. All others go by popularity.
        window: Earlier exposures that count.
        topic_click: Weight of clicks on the topic.
        topic_skip: Weight of skips of the topic.
        topic_half_life: Hours after which a click or skip counts half.
        fatigue: Weight of each of the last 5 exposures of the same topic.
        repeat: Weight of each earlier exposure of the same video.
        daypart: Weight of the topic's hour of the day.
        taste: Standard deviation of a segment's taste for a topic.
        author_strong: Weight of strong feedback to the author.
        author_ignored: Weight of exposures of the author without a like.
        music_like: Weight of likes of the music.
        generosity: Distance between neighbouring levels of generosity.
        distance: Weight of the squared distance from the preferred duration.
        length: Weight of the duration itself.
        preference_half_life: Exposures after which a long view counts half.
        binge: Weight of the latest long views.
        night: Effect of the night.
        upload_type: Standard deviation of the effects of upload types.
        user_bias: Standard deviation of a user's hidden biases.
        item_quality: Standard deviation of a video's hidden qualities.
        mood: Standard deviation of the hidden mood.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> keras_infnet.datasets.SimulationSettings(days=12).window
        100
    """

    days: int = 18
    random_share: float = 0.02
    session_length: float = 6.0
    activity_spread: float = 0.7
    topics: int = 30
    items_per_author: float = 8.0
    items_per_music: float = 6.0
    zipf_exponent: float = 0.9
    repeat_share: float = 0.06
    author_share: float = 0.25
    topic_share: float = 0.3
    window: int = 100
    topic_click: float = 1.3
    topic_skip: float = 0.9
    topic_half_life: float = 48.0
    fatigue: float = 0.25
    repeat: float = 0.8
    daypart: float = 0.5
    taste: float = 0.5
    author_strong: float = 1.8
    author_ignored: float = 0.7
    music_like: float = 1.2
    generosity: float = 0.8
    distance: float = 0.7
    length: float = 0.3
    preference_half_life: float = 8.0
    binge: float = 1.0
    night: float = 0.4
    upload_type: float = 0.4
    user_bias: float = 0.3
    item_quality: float = 0.4
    mood: float = 0.6

    def __post_init__(self) -> None:
        self._check(
            "a finite number, 0 or more",
            lambda value: math.isfinite(value) and value >= 0,
            *(field.name for field in fields(self)),
        )
        self._check("1 to 31", lambda days: 1 <= days <= 31, "days")
        self._check("above 0, at most 0.2", lambda share: 0 < share <= 0.2, "random_share")
        at_least_one = ("session_length", "items_per_author", "items_per_music", "topics", "window")
        self._check("1 or more", lambda value: value >= 1, *at_least_one)
        half_lives = ("topic_half_life", "preference_half_life")
        self._check("above 0", lambda hours: hours > 0, *half_lives)
        shares = self.repeat_share + self.author_share + self.topic_share
        expected = "at most 1 together with author_share and topic_share"
        self._check(expected, lambda _: shares <= 1, "repeat_share")

    def _check(self, expected: str, is_good: Callable[[float], bool], *names: str) -> None:
        for name in names:
            if not is_good(getattr(self, name)):
                raise bad(self, name, getattr(self, name), expected)


@dataclass(frozen=True)
class Users:
    """Users in the order of falling activity; arrays `(users,)`, `bias` `(users, 3)`."""

    user_id: np.ndarray
    segment: np.ndarray
    generosity: np.ndarray
    preference: np.ndarray
    bias: np.ndarray

    @property
    def preferred_duration(self) -> np.ndarray:
        """Standardised log duration that a user without history prefers, -1 to 1."""
        return self.preference / (NUM_PREFERENCE_LEVELS - 1) * 2 - 1


@dataclass(frozen=True)
class Videos:
    """Videos; arrays `(videos,)`, `quality` `(videos, 3)`; `z` is the standardised log duration."""

    popularity: np.ndarray
    topic: np.ndarray
    author: np.ndarray
    music: np.ndarray
    upload_type: np.ndarray
    duration_ms: np.ndarray
    z: np.ndarray
    quality: np.ndarray


@dataclass(frozen=True)
class World:
    """Users, videos and the effects they share."""

    users: Users
    videos: Videos
    taste: np.ndarray
    topic_hour: np.ndarray
    upload_effect: np.ndarray


def make_world(
    users: int, items: int, settings: SimulationSettings, rng: np.random.Generator
) -> World:
    """Draws all that is fixed."""
    population = Users(
        user_id=rng.permutation(users),
        segment=rng.integers(NUM_SEGMENTS, size=users),
        generosity=rng.integers(NUM_GENEROSITY_LEVELS, size=users),
        preference=rng.integers(NUM_PREFERENCE_LEVELS, size=users),
        bias=rng.normal(0, settings.user_bias, (users, 3)),
    )
    rank = rng.permutation(items) + 1.0
    seconds = MEDIAN_SECONDS * np.exp(LOG_SECONDS_SPREAD * rng.normal(size=items))
    # The table shows milliseconds: the standardised value is the one that the table implies.
    duration_ms = np.round(np.clip(seconds, 3, 1200) * 1000)
    catalogue = Videos(
        popularity=rank**-settings.zipf_exponent,
        topic=_zipf(items, settings.topics, 0.5, rng),
        author=_zipf(items, max(1, round(items / settings.items_per_author)), 0.4, rng),
        music=_zipf(items, max(1, round(items / settings.items_per_music)), 0.4, rng),
        upload_type=_zipf(items, NUM_UPLOAD_TYPES, 0.8, rng),
        duration_ms=duration_ms.astype("int64"),
        z=np.log(duration_ms / 1000 / MEDIAN_SECONDS) / LOG_SECONDS_SPREAD,
        quality=rng.normal(0, settings.item_quality, (items, 3)),
    )
    return World(
        population,
        catalogue,
        taste=rng.normal(0, settings.taste, (NUM_SEGMENTS, settings.topics)),
        topic_hour=rng.uniform(0, 24, settings.topics),
        upload_effect=rng.normal(0, settings.upload_type, NUM_UPLOAD_TYPES),
    )


def _zipf(size: int, values: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    weights = np.arange(1, values + 1.0) ** -exponent
    return rng.choice(values, size, p=weights / weights.sum())


@dataclass(frozen=True)
class Timeline:
    """Impressions sorted by (user, time); no two of a user have the same time.

    User `u` has the `count[u]` impressions from `start[u]` on, and `count` falls.
    """

    count: np.ndarray
    start: np.ndarray
    user: np.ndarray
    local_ms: np.ndarray
    is_random: np.ndarray

    @property
    def hour(self) -> np.ndarray:
        """Hour of the day, UTC+8, 0 to 23."""
        return self.local_ms // 3_600_000 % 24

    @property
    def time_ms(self) -> np.ndarray:
        """Unix milliseconds."""
        return self.local_ms - UTC_OFFSET_MS

    @property
    def date(self) -> np.ndarray:
        """Day in UTC+8 as yyyymmdd."""
        day = pd.to_datetime(self.local_ms, unit="ms")
        return (day.year * 10_000 + day.month * 100 + day.day).to_numpy("int64")


def make_timeline(
    rows: int, users: int, settings: SimulationSettings, rng: np.random.Generator
) -> Timeline:
    """Times of `rows` standard impressions and of the random exposures among them."""
    random_rows = max(1, round(rows * settings.random_share))
    activity = np.exp(settings.activity_spread * rng.normal(size=users))
    count = np.sort(rng.multinomial(rows + random_rows, activity / activity.sum()))[::-1]
    user = np.repeat(np.arange(users), count)
    start = np.cumsum(count) - count
    first_day = LAST_DAY - pd.Timedelta(days=settings.days - 1)
    local_ms = first_day.value // 1_000_000 + _session_times(user, settings, rng)
    local_ms = _strictly_increasing(user, local_ms[np.lexsort((local_ms, user))])
    eligible = np.flatnonzero(local_ms >= SECOND_LOG_START.value // 1_000_000)
    is_random = np.zeros(len(user), bool)
    is_random[rng.choice(eligible, random_rows, replace=False)] = True
    return Timeline(count, start, user, local_ms, is_random)


def _session_times(
    user: np.ndarray, settings: SimulationSettings, rng: np.random.Generator
) -> np.ndarray:
    """Milliseconds since the log's first midnight."""
    opens = rng.random(len(user)) < 1 / settings.session_length
    opens |= np.diff(user, prepend=-1) > 0
    session = np.cumsum(opens) - 1
    sessions = session[-1] + 1
    days = rng.integers(settings.days, size=sessions)
    hours = days * 24 + rng.choice(24, sessions, p=np.divide(HOUR_WEIGHTS, sum(HOUR_WEIGHTS)))
    opening = (hours + rng.random(sessions)) * 3_600_000
    elapsed = np.cumsum(5_000 + rng.exponential(30_000, len(user)))
    times = opening[session] + elapsed - elapsed[opens][session]
    # What runs over the last midnight goes on in the log's first night.
    return times.astype("int64") % (settings.days * DAY_MS - 1_000)


def _strictly_increasing(user: np.ndarray, local_ms: np.ndarray) -> np.ndarray:
    """Moves ties of a user apart by a millisecond each."""
    steps = np.arange(len(user))
    apart = user * (64 * DAY_MS)
    return np.maximum.accumulate(local_ms + apart - steps) + steps - apart
