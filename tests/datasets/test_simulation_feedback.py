import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import quad

from keras_infnet.datasets.simulation_feedback import (
    FEEDBACK_NAMES,
    Past,
    log_odds,
    utilities,
    without_mood,
)
from keras_infnet.datasets.simulation_world import SimulationSettings, make_world

SETTINGS = SimulationSettings(topics=3, items_per_author=10, items_per_music=10)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    world = make_world(20, 30, SETTINGS, rng)
    n, events = 40, 9
    user, video, hour = rng.integers(20, size=n), rng.integers(30, size=n), rng.integers(24, size=n)
    past = Past(
        video=rng.integers(30, size=(n, events)),
        hours=rng.uniform(0, 90, (n, events)),
        counts=rng.integers(2, size=(n, events)),
        feedback=rng.integers(2, size=(n, events, 8)).astype("float32"),
    )
    return world, user, video, hour, past


def loop(world, user, video, hour, past, i):
    """The equations of SimulationSettings, one event after the other."""
    s, videos = SETTINGS, world.videos
    v, u = video[i], user[i]
    clicked = skipped = tired = shown = strong = ignored = music = viewed = binge = 0.0
    weights, position = 1.0, 0
    preference = -1 + 2 * world.users.preference[u] / 6
    for e in reversed(range(past.video.shape[1])):
        if not past.counts[i, e]:
            continue
        position += 1
        other = past.video[i, e]
        given = dict(zip(FEEDBACK_NAMES, past.feedback[i, e], strict=True))
        if videos.topic[other] == videos.topic[v]:
            h = 0.5 ** (past.hours[i, e] / s.topic_half_life)
            clicked += given["click"] * h
            skipped += (1 - given["click"]) * h
            tired += position <= 5
        if videos.author[other] == videos.author[v]:
            strong += given["like"] + 2 * given["follow"] + given["comment"]
            strong += given["forward"] + given["profile_enter"]
            ignored += 1 - given["like"]
        music += (videos.music[other] == videos.music[v]) * given["like"]
        shown += other == v
        weight = given["long_view"] * 0.5 ** ((position - 1) / s.preference_half_life)
        viewed += weight * videos.z[other]
        weights += weight
        binge += given["long_view"] * (position <= 3) / 3
    preference = (preference + viewed) / weights
    z, topic = videos.z[v], videos.topic[v]
    angle = 2 * math.pi * (hour[i] - world.topic_hour[topic]) / 24
    interest = s.topic_click * math.log(1 + clicked) - s.topic_skip * math.log(1 + skipped)
    interest += s.daypart * math.cos(angle) - s.fatigue * tired - s.repeat * min(2, shown)
    interest += world.taste[world.users.segment[u], topic]
    loyalty = s.author_strong * math.log(1 + strong) - s.author_ignored * math.log(1 + ignored)
    loyalty += s.music_like * math.log(1 + music)
    loyalty += s.generosity * (world.users.generosity[u] - 1)
    viewing = -s.distance * min(4, (z - preference) ** 2) - s.length * z + s.binge * binge
    viewing += s.night * (hour[i] >= 22 or hour[i] < 2)
    viewing += world.upload_effect[videos.upload_type[v]]
    return np.array([interest, loyalty, viewing]) + world.users.bias[u] + videos.quality[v]


def test_utilities_equal_a_loop_over_events(case):
    world, user, video, hour, past = case
    found = utilities(world, SETTINGS, user, video, hour, past)
    expected = [loop(world, user, video, hour, past, i) for i in range(len(user))]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_an_empty_past_leaves_fields_and_hidden_values(case):
    world, user, video, hour, past = case
    empty = {f.name: getattr(past, f.name)[:, :0] for f in dataclasses.fields(past)}
    found = utilities(world, SETTINGS, user, video, hour, Past(**empty))
    expected = [loop(world, user, video, hour, Past(**empty), i) for i in range(len(user))]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_each_task_reads_its_own_utility():
    odds = log_odds(np.eye(3), same_tasks=False) - log_odds(np.zeros((3, 3)), same_tasks=False)
    columns = [FEEDBACK_NAMES.index(name) for name in ("click", "like", "long_view")]
    np.testing.assert_allclose(odds[:, columns], np.eye(3), atol=1e-12)


def test_with_same_tasks_all_read_the_same():
    odds = log_odds(np.eye(3), same_tasks=True) - log_odds(np.zeros((3, 3)), same_tasks=True)
    np.testing.assert_allclose(odds, np.full((3, 8), 1 / math.sqrt(3)), atol=1e-12)


@pytest.mark.parametrize("odds", [-5.0, -0.3, 2.0])
def test_best_is_the_mean_over_the_mood(odds):
    def density(mood):
        return math.exp(-(mood**2) / 2) / math.sqrt(2 * math.pi)

    def integrand(mood):
        return density(mood) / (1 + math.exp(-odds - SETTINGS.mood * mood))

    expected, _ = quad(integrand, -12, 12, epsabs=1e-12)
    found = without_mood(np.array([[odds]]), SETTINGS)
    np.testing.assert_allclose(found, [[expected]], atol=1e-8)
