"""Ranking by a deadline: all of a history, then its newest events, then the state that is kept."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from keras_infnet.serving.user_states import RefusedStateError, UserStates
from keras_infnet.serving.wire import BusyError

# Share of what is left of the time that a way gets while there is another behind it.
_SHARE = 0.5


@dataclass(frozen=True)
class Answer:
    """Outputs of candidates, and what they are made of.

    Args:
        outputs: As `Client.rank` gives them.
        used: `"full"`: all that the request has. `"newest 50"`: of each history the newest 50
            events. `"state"`: the user's state that is kept, made before the newest events.
        seconds: What it took.
    """

    outputs: Any
    used: str
    seconds: float


class DeadlineRanker:
    """Ranks candidates within a deadline, if need be by less of the history, and says by what.

    It goes down three ways until one answers, each with half of the time that is left and the last
    with all:

    - `"full"`: `UserStates.rank`, so by the state that is kept if nothing has come to the history;
    - `"newest 50"`: `Client.rank` with the newest events of each history, so with less work;
    - `"state"`: `Client.score` by the state that is kept, to which something has come meanwhile.

    A way that did not answer in time is left out for `pause` seconds, by all threads, so that an
    overloaded server is not asked for what it can't do; then one request tries it again. What a
    server refuses for another reason than load, or bad input, is an error at once.

    Args:
        states: States of users, and by them the client.
        deadline: Seconds for an answer. Defaults to `0.1`.
        newest: Number of events of the second way. Defaults to `50`.
        pause: Seconds for which a way is left out. Defaults to `1.0`.

    Raises:
        ValueError: A number is not above 0.
        TimeoutError: No way answered in time.

    Example:
        ```python
        client = keras_infnet.serving.Client("models/ranker/1", "grpc://localhost:8500")
        ranker = keras_infnet.serving.DeadlineRanker(keras_infnet.serving.UserStates(client))
        answer = ranker.rank(user_id, user_row, candidates)
        print(answer.used)
        ```
    """

    def __init__(
        self,
        states: UserStates,
        *,
        deadline: float = 0.1,
        newest: int = 50,
        pause: float = 1.0,
    ) -> None:
        for name, value in {"deadline": deadline, "newest": newest, "pause": pause}.items():
            if not value > 0:
                raise ValueError(f"DeadlineRanker: {name} is {value!r}; expected more than 0.")
        self.states, self.deadline, self.newest, self.pause = states, deadline, newest, pause
        self._left_out_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def rank(self, key: Hashable, user: Any, candidates: Any) -> Answer:
        """Outputs of each candidate for one user.

        Args:
            key: What tells users apart, such as an id.
            user: As in `Client.rank`.
            candidates: As in `Client.rank`.
        """
        start, tried, last = time.monotonic(), [], None
        # Each way takes arrays in less time than a frame.
        user = self.states.client.row_inputs(user)
        for used, way, is_last in self._ways(key, user, candidates):
            left = self.deadline - (time.monotonic() - start)
            if left <= 0:
                break
            tried.append(used)
            try:
                outputs = way(left if is_last else left * _SHARE)
            except (TimeoutError, BusyError, RefusedStateError) as error:
                last = error
                self._left_out_until[used] = time.monotonic() + self.pause
                continue
            self._left_out_until.pop(used, None)
            return Answer(outputs, used, time.monotonic() - start)
        raise TimeoutError(
            f"DeadlineRanker: no answer within {self.deadline:g} seconds; tried: "
            f"{', '.join(tried)}."
        ) from last

    def _ways(
        self, key: Hashable, user: Any, candidates: Any
    ) -> Iterator[tuple[str, Callable[[float], Any], bool]]:
        """What is tried, in order, how, and whether nothing comes behind it."""
        client, state = self.states.client, self.states.get(key)
        ways: dict[str, Callable[[float], Any]] = {
            "full": lambda seconds: self.states.rank(key, user, candidates, timeout=seconds)
        }
        # Nothing is less work than a state that is up to date.
        if state is None or state.made_of != client.digest_of_user(user):
            if any(history.max_length > self.newest for history in client.schema.histories):
                ways[f"newest {self.newest}"] = lambda seconds: client.rank(
                    user, candidates, newest=self.newest, timeout=seconds
                )
            if state is not None:
                ways["state"] = lambda seconds: client.score(
                    state, candidates, user, timeout=seconds
                )
        last = list(ways)[-1]
        for used, way in ways.items():
            # The last is tried whatever happened: there is nothing else.
            if used == last or self._is_tried(used):
                yield used, way, used == last

    def _is_tried(self, used: str) -> bool:
        """Whether a way is not left out; of those that ask after a pause, the first one tries."""
        with self._lock:
            until, now = self._left_out_until.get(used), time.monotonic()
            if until is None:
                return True
            if now < until:
                return False
            self._left_out_until[used] = now + self.pause
            return True
