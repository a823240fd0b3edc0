"""Parameters of the simulated world."""

import math
from dataclasses import dataclass, fields


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
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise self._bad(field.name, "a finite number, 0 or more")
        if not 1 <= self.days <= 31:
            raise self._bad("days", "1 to 31")
        if not 0 < self.random_share <= 0.2:
            raise self._bad("random_share", "above 0, at most 0.2")
        for name in ("session_length", "items_per_author", "items_per_music", "topics", "window"):
            if getattr(self, name) < 1:
                raise self._bad(name, "1 or more")
        for name in ("topic_half_life", "preference_half_life"):
            if getattr(self, name) <= 0:
                raise self._bad(name, "above 0")
        if self.repeat_share + self.author_share + self.topic_share > 1:
            raise self._bad("repeat_share", "at most 1 together with author_share and topic_share")

    def _bad(self, name: str, expected: str) -> ValueError:
        value = getattr(self, name)
        return ValueError(f"SimulationSettings: {name} is {value!r}; expected {expected}.")
