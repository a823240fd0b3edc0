"""Ranking by a deadline: which way answers, by a slow server that is none and by a real one."""

import time

import numpy as np
import pandas as pd
import pytest

from keras_infnet.serving import Client, DeadlineRanker, UserStates
from keras_infnet.serving.wire import BusyError

pytestmark = pytest.mark.one_backend

ITEM = ["video_id", "page_id", "tag", "length", "image"]


@pytest.fixture(scope="module")
def url(ranker):
    from tests.serving.prediction_server import serving

    with serving(ranker.path) as urls:
        yield urls["grpc"]


class Slow(Client):
    """A client whose server needs some seconds, or is busy, by what it is asked."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds, self.busy, self.asked = {}, set(), []
        predict = self._server.predict

        def slow(inputs, signature, names, timeout=None):
            asked = self.what(inputs, signature)
            self.asked.append(asked)
            if asked in self.busy:
                raise BusyError("Client: it is busy: no place")
            if self.seconds.get(asked, 0) > timeout:
                time.sleep(timeout)
                raise TimeoutError(f"Client: no answer within {timeout:g} seconds.")
            # The machine of the tests may be slow; the ways' own times are those of above.
            return predict(inputs, signature, names, 30)

        self._server.predict = slow

    def what(self, inputs, signature):
        if signature != "rank":
            return signature
        return f"rank {inputs['seen_video_id'].shape[1]}"


@pytest.fixture
def client(ranker, url):
    client = Slow(ranker.path, url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def user(ranker):
    return ranker.rows.iloc[[int(ranker.rows["seen_video_id"].map(len).argmax())]]


@pytest.fixture(scope="module")
def items(ranker):
    return ranker.rows.iloc[20:29][ITEM]


@pytest.fixture
def ranking(client):
    return DeadlineRanker(UserStates(client), deadline=20, newest=2, pause=60)


def keras_scores(ranker, user, items, newest=None):
    """What Keras gives for the pairs, by all or the newest events of each history."""
    histories = [name for name in user if name.startswith(("seen_", "liked_"))]
    if newest is not None:
        cut = {
            n: user[n].map(lambda x: None if x is None else list(x)[-newest:]) for n in histories
        }
        user = user.assign(**cut)
    pairs = pd.concat([user] * len(items)).assign(**{n: items[n].to_numpy() for n in ITEM})
    found = ranker.model.predict(ranker.encoder.transform(pairs), verbose=0)
    return pd.DataFrame({task: found[task][:, 0] for task in ("click", "like")}, items.index)


def older(user):
    """The user before his newest event."""
    names = [name for name in user if name.startswith("seen_")]
    return user.assign(**{name: user[name].map(lambda x: list(x)[:-1]) for name in names})


def same(answer, used, expected):
    assert answer.used == used
    pd.testing.assert_frame_equal(answer.outputs, expected, atol=1e-5, rtol=0)


def test_in_time_the_whole_history_answers_and_its_state_is_kept(
    ranking, client, ranker, user, items
):
    expected = keras_scores(ranker, user, items)
    same(ranking.rank("u", user, items), "full", expected)
    same(ranking.rank("u", user, items), "full", expected)
    assert client.asked == ["user_state", "score", "score"]


def test_a_slow_server_is_asked_for_the_newest_events(ranking, client, ranker, user, items):
    client.seconds["user_state"] = 30
    ranking.deadline = 3.0
    expected = keras_scores(ranker, user, items, newest=2)
    assert np.abs(expected - keras_scores(ranker, user, items)).to_numpy().max() > 1e-4
    same(ranking.rank("u", user, items), "newest 2", expected)
    assert client.asked == ["user_state", "rank 2"]


def test_what_was_too_slow_is_left_out_for_a_pause(ranking, client, user, items):
    client.busy.add("user_state")
    ways = [ranking.rank("u", user, items).used for _ in range(2)]
    assert ways == ["newest 2"] * 2 and client.asked == ["user_state", "rank 2", "rank 2"]
    client.busy.clear()
    # The pause is over.
    ranking._left_out_until["full"] -= 60
    assert ranking.rank("u", user, items).used == "full"


def test_the_state_that_is_kept_is_the_last_way(ranking, client, ranker, user, items):
    before = older(user)
    ranking.rank("u", before, items)
    client.busy |= {"user_state", "rank 2"}
    client.asked.clear()
    same(ranking.rank("u", user, items), "state", keras_scores(ranker, before, items))
    assert client.asked == ["user_state", "rank 2", "score"]
    client.asked.clear()
    ranking.rank("u", user, items)
    assert client.asked == ["score"]
    # Without anything new it is all of the history, and nothing is less work.
    assert ranking.rank("u", before, items).used == "full"


def test_no_answer_in_time_says_what_was_tried(ranking, client, user, items):
    client.seconds |= {"user_state": 30, "rank 2": 30}
    ranking.deadline = 1.0
    with pytest.raises(TimeoutError, match="within 1 seconds; tried: full, newest 2"):
        ranking.rank("u", user, items)


def test_what_is_refused_for_another_reason_is_an_error(ranking, client, user, items):
    with pytest.raises(ValueError, match="`video_id`: found values of type"):
        ranking.rank("u", user, items.assign(video_id=["x"] * len(items)))
    client.model = client._server.model = "feed"
    with pytest.raises(RuntimeError, match="Servable not found"):
        ranking.rank("u", user, items)


def test_newest_events_are_answered_as_keras_does(client, ranker, user, items):
    for newest in (1, 3, 100):
        found = client.rank(user, items, newest=newest, timeout=30)
        expected = keras_scores(ranker, user, items, newest)
        pd.testing.assert_frame_equal(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="newest is 0; expected 1 or more"):
        client.rank(user, items, newest=0)


@pytest.mark.parametrize("argument", ["deadline", "newest", "pause"])
def test_a_deadline_of_nothing_is_an_error(client, argument):
    with pytest.raises(ValueError, match=f"DeadlineRanker: {argument} is 0; expected more than 0"):
        DeadlineRanker(UserStates(client), **{argument: 0})
