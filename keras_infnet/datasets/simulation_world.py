"""Users and videos of the simulated world: what is fixed before the first impression."""

from dataclasses import dataclass

import numpy as np

from keras_infnet.datasets.simulation_settings import SimulationSettings

NUM_SEGMENTS = 7
NUM_GENEROSITY_LEVELS = 3
NUM_PREFERENCE_LEVELS = 7
NUM_UPLOAD_TYPES = 6
MEDIAN_SECONDS = 40.0
LOG_SECONDS_SPREAD = 0.9


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
    return World(
        users=_make_users(users, settings, rng),
        videos=_make_videos(items, settings, rng),
        taste=rng.normal(0, settings.taste, (NUM_SEGMENTS, settings.topics)),
        topic_hour=rng.uniform(0, 24, settings.topics),
        upload_effect=rng.normal(0, settings.upload_type, NUM_UPLOAD_TYPES),
    )


def _make_users(users: int, settings: SimulationSettings, rng: np.random.Generator) -> Users:
    return Users(
        user_id=rng.permutation(users),
        segment=rng.integers(NUM_SEGMENTS, size=users),
        generosity=rng.integers(NUM_GENEROSITY_LEVELS, size=users),
        preference=rng.integers(NUM_PREFERENCE_LEVELS, size=users),
        bias=rng.normal(0, settings.user_bias, (users, 3)),
    )


def _make_videos(items: int, settings: SimulationSettings, rng: np.random.Generator) -> Videos:
    rank = rng.permutation(items) + 1.0
    z = rng.normal(size=items)
    seconds = np.clip(MEDIAN_SECONDS * np.exp(LOG_SECONDS_SPREAD * z), 3, 1200)
    # The table shows milliseconds: the standardised value is the one that the table implies.
    duration_ms = np.round(seconds * 1000)
    z = np.log(duration_ms / 1000 / MEDIAN_SECONDS) / LOG_SECONDS_SPREAD
    return Videos(
        popularity=rank**-settings.zipf_exponent,
        topic=_zipf(items, settings.topics, 0.5, rng),
        author=_zipf(items, max(1, round(items / settings.items_per_author)), 0.4, rng),
        music=_zipf(items, max(1, round(items / settings.items_per_music)), 0.4, rng),
        upload_type=_zipf(items, NUM_UPLOAD_TYPES, 0.8, rng),
        duration_ms=duration_ms.astype("int64"),
        z=z,
        quality=rng.normal(0, settings.item_quality, (items, 3)),
    )


def _zipf(size: int, values: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    weights = np.arange(1, values + 1.0) ** -exponent
    return rng.choice(values, size, p=weights / weights.sum())
