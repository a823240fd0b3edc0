"""States of users: in the client, in its keeper, and over loopback."""

import dataclasses
import json
import threading

import numpy as np
import pandas as pd
import pytest

from keras_infnet.serving import Client, UserStates, user_states
from keras_infnet.serving import client as client_module
from keras_infnet.serving.requests import FINGERPRINT

pytestmark = pytest.mark.one_backend

TASKS = ["click", "like"]
ITEM = ["video_id", "page_id", "tag", "length", "image"]


@pytest.fixture(scope="module")
def served(ranker):
    """URLs of the servers."""
    from tests.serving.prediction_server import serving

    with pytest.MonkeyPatch.context() as patch, serving(ranker.path) as urls:
        patch.setenv("no_proxy", "127.0.0.1")
        yield urls


@pytest.fixture(params=["rest", "grpc"])
def client(request, served, ranker):
    client = Client(ranker.path, served[request.param])
    yield client
    client.close()


@pytest.fixture(scope="module")
def user(ranker):
    return ranker.rows.iloc[[int(ranker.rows["seen_video_id"].map(len).argmax())]]


@pytest.fixture(scope="module")
def items(ranker):
    return ranker.rows.iloc[20:29][ITEM]


class Counted:
    """A client that counts the states it is asked for, and whose clock is set by hand."""

    def __init__(self, nbytes=100):
        self.asked, self.scored, self.nbytes = [], [], nbytes

    def user_state(self, user, *, ttl, timeout):
        self.asked.append(user)
        tensors = {"x": np.zeros(self.nbytes - 8, "int8"), FINGERPRINT: np.array(5)}
        return user_states.UserState(tensors, user_states.now(), ttl, str(user))

    def digest_of_user(self, user):
        return str(user)

    def score(self, state, candidates, context, *, timeout):
        self.scored.append(state)
        return f"{state.made_of} {candidates}"


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(user_states, "now", lambda: now[0])
    monkeypatch.setattr(client_module, "now", lambda: now[0])
    return now


def test_score_of_a_state_answers_as_rank_does(client, ranker, user, items):
    state = client.user_state(user)
    found = client.score(state, items, user)
    pd.testing.assert_frame_equal(found, client.rank(user, items), atol=1e-6, rtol=0)
    assert found["click"].std() > 1e-4
    card = json.loads((ranker.path / "assets.extra" / "fingerprint.json").read_text("utf-8"))
    assert state.fingerprint == card["fingerprint"]


def test_a_dict_is_scored_as_a_frame(client, user, items):
    given = client.rank_inputs(user, items)
    dict_items = {name: given.pop(name) for name in ITEM}
    found = client.score(client.user_state(given), dict_items, given)
    expected = client.rank(given, dict_items)
    for task in TASKS:
        np.testing.assert_allclose(found[task], expected[task], atol=1e-6)


def test_a_user_without_history_has_a_state(client, user, items):
    histories = [name for name in user if name.startswith(("seen_", "liked_"))]
    none = user.assign(**{name: pd.Series([[]], user.index) for name in histories})
    found = client.score(client.user_state(none), items, none)
    pd.testing.assert_frame_equal(found, client.rank(none, items), atol=1e-6, rtol=0)
    fewer = sum(x.size for x in client.user_state(none).tensors.values())
    assert fewer < sum(x.size for x in client.user_state(user).tensors.values())


def test_a_state_of_another_version_is_refused_before_it_is_sent_and_by_the_graph(
    client, ranker, user, items
):
    tensors = client.user_state(user).tensors
    other = dict(tensors) | {FINGERPRINT: np.asarray(255, "int64")}
    state = user_states.UserState(other, user_states.now(), 60, "")
    with pytest.raises(ValueError, match="state is of another version .*found 0000000000ff. Ask"):
        client.score(state, items, user)
    unknowing = Client(ranker.encoder.schema, client.url)
    with pytest.raises(ValueError, match=r"(?s)state is of another version .*found.*255"):
        unknowing.score(state, items, user)
    states = UserStates(unknowing)
    states._states["u"] = dataclasses.replace(state, made_of=client.digest_of_user(user))
    found = states.rank("u", user, items)
    pd.testing.assert_frame_equal(found, client.rank(user, items), atol=1e-6, rtol=0)
    assert states.get("u").fingerprint != state.fingerprint
    unknowing.close()


def test_a_state_older_than_its_time_to_live_is_refused(served, ranker, user, items, clock):
    client = Client(ranker.path, served["grpc"])
    state = client.user_state(user, ttl=60)
    clock[0] += 61
    with pytest.raises(ValueError, match="the state is 61 s old; its time to live is 60 s. Ask"):
        client.score(state, items, user)
    client.close()


def test_a_context_that_is_needed_is_asked_for(served, ranker, user, items):
    client = Client(ranker.path, served["grpc"])
    state = client.user_state(user)
    with pytest.raises(ValueError, match="expected a DataFrame, or a dict"):
        client.score(state, items)
    with pytest.raises(ValueError, match="inputs are missing: `query`"):
        client.score(state, items, {})
    two = pd.concat([user, user])
    with pytest.raises(ValueError, match="the user's `user_id` has 2 rows; expected one"):
        client.user_state(two)
    client.close()


def test_ages_make_no_other_digest_and_events_do(ranker, user):
    client = Client(ranker.path)
    inputs = client.rank_inputs(user, ranker.rows.head(1))
    inputs = {name: inputs[name] for name in ranker.encoder.schema.raw_inputs(("user",))}
    digest = client.digest_of_user(inputs)
    later = inputs | {"seen_age_seconds": inputs["seen_age_seconds"] + 60}
    assert client.digest_of_user(later) == digest
    for name in ("seen_video_id", "country", "fans", "liked_video_id"):
        changed = inputs[name].copy()
        changed.flat[0] = "PT2" if changed.dtype == object else changed.flat[0] + 1
        assert client.digest_of_user(inputs | {name: changed}) != digest


def test_a_state_is_used_until_it_is_old_or_the_user_has_changed(clock):
    client = Counted()
    states = UserStates(client, ttl=60)
    assert states.rank("u", "history", "items") == "history items"
    clock[0] += 59
    states.rank("u", "history", "others")
    assert client.asked == ["history"] and len(client.scored) == 2
    assert states.rank("u", "longer history", "items") == "longer history items"
    assert client.asked == ["history", "longer history"] and len(states) == 1
    clock[0] += 61
    assert states.get("u") is None and len(states) == 0 and states.nbytes == 0
    states.rank("u", "longer history", "items")
    assert len(client.asked) == 3


def test_a_state_that_ends_while_it_is_used_is_made_again(served, ranker, user, items, clock):
    client = Client(ranker.path, served["grpc"])
    states, digest = UserStates(client, ttl=60), client.digest_of_user
    expected = states.rank("u", user, items)
    clock[0] += 59.5

    def slow(user):
        clock[0] += 1
        return digest(user)

    client.digest_of_user = slow
    pd.testing.assert_frame_equal(states.rank("u", user, items), expected, atol=1e-6, rtol=0)
    assert states.get("u").age == 0
    client.close()


def test_beyond_the_bound_what_was_not_used_for_longest_goes(clock):
    client = Counted(nbytes=100)
    states = UserStates(client, max_bytes=300)
    for key in "abc":
        states.rank(key, key, "items")
    states.rank("a", "a", "items")
    states.rank("d", "d", "items")
    assert states.nbytes == 300 and [key for key in "abcd" if states.get(key)] == ["a", "c", "d"]
    client.nbytes = 301
    assert states.rank("e", "e", "items") == "e items"
    assert states.get("e") is None and states.nbytes == 300


def test_threads_share_states():
    client = Counted(nbytes=100)
    states, wrong = UserStates(client, max_bytes=1000), []

    def ask(seed):
        for number in np.random.default_rng(seed).integers(20, size=200):
            if states.rank(number, f"user {number}", seed) != f"user {number} {seed}":
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(client.scored) == 1600
    assert states.nbytes == 100 * len(states) <= 1000


@pytest.mark.parametrize("argument", ["ttl", "max_bytes"])
def test_a_bound_of_nothing_is_an_error(argument):
    with pytest.raises(ValueError, match=f"UserStates: {argument} is 0; expected more than 0"):
        UserStates(Counted(), **{argument: 0})
