"""States of users that a client keeps: for a time, within a bound on memory, and renews."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_infnet._base.digest import digest
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.seconds_since import SecondsSinceFeature
from keras_infnet.serving.requests import FINGERPRINT, Arrays


class RefusedStateError(ValueError):
    """A state is beyond its time to live, or of another version than the model that scores."""


def now() -> float:
    """The time by which states age: seconds, the same in all processes."""
    return time.time()


@dataclass(frozen=True)
class UserState:
    """What a version of a model keeps of one user, as `Client.user_state` gives it.

    It is of the instant at which it was made: an event that was an hour old then is an hour old in
    each answer, until `ttl` is over.

    Args:
        tensors: Arrays by name, which the signature `score` takes.
        made_at: When it was made, in seconds as `time.time()` counts.
        ttl: Seconds after which `Client.score` refuses it.
        made_of: Digest of the inputs that it was made of, without what time alone changes.
    """

    tensors: Mapping[str, np.ndarray]
    made_at: float
    ttl: float
    made_of: str

    @property
    def fingerprint(self) -> str:
        """The twelve digits of the model's version, as in its `fingerprint.json`."""
        return f"{int(self.tensors[FINGERPRINT]):012x}"

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(x.nbytes for x in self.tensors.values())

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return now() - self.made_at


class UserStates:
    """Ranks candidates by states of users, which it keeps and renews.

    A state is used while the user's features and histories are those that it was made of, and it
    is not older than `ttl`; then another is asked for. Ages of events and `SecondsSinceFeature`s
    are left out of that comparison, since time changes them: `ttl` bounds how far they are behind.
    The context's features are sent with each request. Threads may share one.

    Args:
        client: A `Client` of a model that was exported with `user_state=True`.
        ttl: Seconds that a state lives. Defaults to `300.0`.
        max_bytes: Bytes of all states that are kept. Beyond, those that were not used for longest
            go. Defaults to 256 MiB.

    Raises:
        ValueError: `ttl` or `max_bytes` is not above 0.

    Example:
        ```python
        client = keras_infnet.serving.Client("models/ranker/1", "grpc://localhost:8500")
        states = keras_infnet.serving.UserStates(client, ttl=60)
        scores = states.rank(user_id, user_row, candidates)
        ```
    """

    def __init__(self, client: Any, *, ttl: float = 300.0, max_bytes: int = 2**28) -> None:
        for name, value in {"ttl": ttl, "max_bytes": max_bytes}.items():
            if not value > 0:
                raise ValueError(f"UserStates: {name} is {value!r}; expected more than 0.")
        self.client, self.ttl, self.max_bytes = client, ttl, max_bytes
        self._states: OrderedDict[Hashable, UserState] = OrderedDict()
        self._nbytes, self._lock = 0, threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the states that are kept."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: Hashable) -> UserState | None:
        """The state that is kept of a user, whatever came to his history since; None if none is."""
        with self._lock:
            state = self._states.get(key)
            if state is None:
                return None
            if state.age > self.ttl:
                self._drop(key)
                return None
            self._states.move_to_end(key)
            return state

    def renew(self, key: Hashable, user: Any, *, timeout: float | None = None) -> UserState:
        """Asks for a user's state, and keeps it.

        Args:
            key: What tells users apart, such as an id.
            user: One row of the user's features and histories; what is the context's is not read.
            timeout: Seconds to wait. Defaults to the client's.
        """
        state = self.client.user_state(user, ttl=self.ttl, timeout=timeout)
        with self._lock:
            self._drop(key)
            if state.nbytes <= self.max_bytes:
                self._states[key] = state
                self._nbytes += state.nbytes
            while self._nbytes > self.max_bytes:
                self._drop(next(iter(self._states)))
        return state

    def rank(
        self, key: Hashable, user: Any, candidates: Any, *, timeout: float | None = None
    ) -> Any:
        """Outputs of each candidate, as `Client.rank` gives them.

        Where the server has another version of the model by now, or the state comes to the end of
        its time to live meanwhile, another state is asked for.

        Args:
            key: What tells users apart, such as an id.
            user: As in `Client.rank`.
            candidates: As in `Client.rank`.
            timeout: Seconds for all requests together. Defaults to the client's for each.
        """
        left = _seconds_left(timeout)
        state = self.get(key)
        if state is None or state.made_of != self.client.digest_of_user(user):
            state = self.renew(key, user, timeout=left())
        try:
            return self.client.score(state, candidates, user, timeout=left())
        except RefusedStateError:
            state = self.renew(key, user, timeout=left())
            return self.client.score(state, candidates, user, timeout=left())

    def _drop(self, key: Hashable) -> None:
        state = self._states.pop(key, None)
        self._nbytes -= 0 if state is None else state.nbytes


def digest_of_inputs(schema: FeatureSchema, inputs: Arrays) -> str:
    """Digest of a user's inputs, without those that time alone changes."""
    of_time = {f.name for f in schema.features if isinstance(f, SecondsSinceFeature)}
    for h in schema.histories:
        of_time |= {f"{h.name}_{suffix}" for q in h.of_row for suffix in q.raw_inputs()}
    parts: list[Any] = []
    for name in sorted(inputs.keys() - of_time):
        values = inputs[name]
        # The bytes of an array of objects are addresses.
        parts += [name, repr(values.tolist()) if values.dtype == object else values]
    return digest(*parts)


def _seconds_left(timeout: float | None) -> Callable[[], float | None]:
    """What is left of a timeout from now on; a TimeoutError where nothing is."""
    end = None if timeout is None else time.monotonic() + timeout

    def left() -> float | None:
        if end is None:
            return None
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError(f"UserStates: no answer within {timeout:g} seconds.")
        return seconds

    return left
