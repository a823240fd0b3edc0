"""EventArrays: the events of one history, once each, by user and time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import encode_events
from keras_infnet.schema.history import History
from keras_infnet.schema.instants import MISSING_TIME
from keras_infnet.schema.schema import FeatureSchema

# Before every other time: events that are known to be past, but not since when.
NO_TIME = MISSING_TIME


@dataclass(frozen=True)
class EventArrays:
    """The events of one history, sorted by (user, time, order in the log).

    Attributes:
        columns: int32 `(events, columns)`, encoded; without columns before they are.
        users: int64 `(events,)`, codes that increase.
        times: int64 `(events,)`, milliseconds, `NO_TIME` where unknown.
        raw: Canonical values `(events,)` by what follows `{history}_` in list columns.
    """

    columns: np.ndarray
    users: np.ndarray
    times: np.ndarray
    raw: dict[str, pa.Array]

    @classmethod
    def of(cls, parts: Sequence["EventArrays"]) -> "EventArrays":
        """The events of several parts below one another, in any order and not encoded."""
        first = parts[-1].raw
        raw = {n: pa.concat_arrays([p.raw[n].cast(first[n].type) for p in parts]) for n in first}
        users = np.concatenate([part.users for part in parts])
        times = np.concatenate([part.times for part in parts])
        return cls(np.zeros((len(users), 0), "int32"), users, times, raw)

    def take(self, places: np.ndarray) -> "EventArrays":
        """Some of the events, by places or by a mask."""
        places = np.flatnonzero(places) if places.dtype == bool else places
        raw = {name: values.take(pa.array(places)) for name, values in self.raw.items()}
        return EventArrays(self.columns[places], self.users[places], self.times[places], raw)

    def in_order(
        self, schema: FeatureSchema, encoder: FeatureEncoder, history: History
    ) -> "EventArrays":
        """The events sorted, with what follows from their order, and encoded."""
        events = self.take(np.lexsort((self.times, self.users)))
        of_order = history.of_order(events.users, None if schema.time_key is None else events.times)
        return replace(events, raw=events.raw | of_order).encoded(schema, encoder, history)

    def encoded(
        self, schema: FeatureSchema, encoder: FeatureEncoder, history: History
    ) -> "EventArrays":
        """The same events as this encoder encodes them."""
        return replace(self, columns=encode_events(schema, encoder.programs, history, self.raw))

    def newest(self, until: int | None, length: int) -> "EventArrays":
        """What rows at `until` and later can reach: each user's newest `length` events before it.

        Events at `until` and later stay all: a row at `until` does not see them, but what was
        before.
        """
        before = self.times < (NO_TIME if until is None else until)
        users = int(self.users[-1]) + 1 if len(self.users) else 0
        number = np.bincount(self.users[before], minlength=users)
        place = np.arange(len(self.users)) - np.searchsorted(self.users, self.users)
        return self.take(place >= number[self.users] - length)

    def and_later(
        self,
        schema: FeatureSchema,
        encoder: FeatureEncoder,
        history: History,
        later: "EventArrays",
    ) -> "EventArrays":
        """These events and later ones, which come in any order and not encoded.

        What followed from the order of these events stays: what was before them may be gone.
        """
        together = EventArrays.of([self, later])
        order = np.lexsort((together.times, together.users))
        together, old = together.take(order), order < len(self.users)
        raw = dict(together.raw)
        for name, values in history.of_order(together.users, together.times).items():
            if len(self.users):
                saved = self.raw[name].take(pa.array(np.minimum(order, len(self.users) - 1)))
                values = pc.if_else(pa.array(old), saved, values)
            raw[name] = values
        together = replace(together, raw=raw)
        new = together.take(~old).encoded(schema, encoder, history).columns
        columns = np.empty((len(old), new.shape[1]), "int32")
        columns[old], columns[~old] = self.columns, new
        return replace(together, columns=columns)
