"""Events of all histories, side by side along time: mask, groups and buckets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_infnet.features.feature import NUM_AGE_BUCKETS, NUM_RATIO_BUCKETS, SequenceFeature
from keras_infnet.features.schema import FeatureSchema
from keras_infnet.models.event_matches import match_patterns, num_match_patterns
from keras_infnet.models.event_rows import event_kinds, joined

EVENT_CONTEXT = ("action", "ratio", "age", "position")
EVENT_QUANTITIES = (*EVENT_CONTEXT, "match")


class HistoryLayout:
    """Where each history of a schema lies in the sequence tokens `S`.

    Histories whose events have the same fields are neighbours, so that one product projects them;
    otherwise the order is the schema's.

    Args:
        schema: A fitted schema.
        event_context: What a token knows of its event besides the item: any of
            `EVENT_QUANTITIES`. `"match"` is which of its fields equal the candidate's.
    """

    def __init__(self, schema: FeatureSchema, event_context: Sequence[str] = EVENT_CONTEXT) -> None:
        self.schema = schema
        self.kinds = event_kinds(schema)
        self.sequences: list[SequenceFeature] = [s for kind in self.kinds for s in kind]
        self.positions = {}
        start = 0
        for s in self.sequences:
            self.positions[s.name] = slice(start, start + s.max_length)
            start += s.max_length
        self.num_buckets = {}
        for quantity in event_context:
            sizes = [self._buckets_of(s, quantity) for s in self.sequences]
            if quantity != "position" and max(sizes, default=1) > 1:
                self.num_buckets[quantity] = sum(sizes)
        self.lengths = tuple(s.max_length for s in self.sequences)
        self.position_lengths = self.lengths if "position" in event_context else ()

    def mask(self, inputs: Mapping[str, Any]) -> Any:
        """Bool `(batch, length)`: where there is an event."""
        return joined([_is_event(inputs[s.name]) for s in self.sequences])

    def groups(self, inputs: Mapping[str, Any]) -> list[Any]:
        """For each history, float `(batch, groups, length)`: 1 where an event is in a group."""
        groups = []
        for s in self.sequences:
            there = ops.expand_dims(_is_event(inputs[s.name]), 1)
            if s.groups:
                column = self.schema.history_columns(s.name)["#groups"].start
                bits = ops.expand_dims(inputs[s.name][:, :, column], 1)
                powers = (1 << np.arange(len(s.groups), dtype="int32"))[None, :, None]
                belongs = ops.equal(ops.mod(ops.floor_divide(bits, powers), 2), 1)
                there = ops.logical_and(there, belongs)
            groups.append(ops.cast(there, "float32"))
        return groups

    def buckets(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Ids `(batch, length)` by quantity, without positions; histories have ids of their own."""
        buckets = {}
        for quantity in self.num_buckets:
            parts, offset = [], 0
            for s in self.sequences:
                parts.append(self._bucket_ids(s, quantity, inputs) + offset)
                offset += self._buckets_of(s, quantity)
            buckets[quantity] = joined(parts)
        return buckets

    def candidate(self, fields: Any) -> list[Any]:
        """The candidate's fields, `(batch, fields * dim)` for each kind of event."""
        names = self.schema.field_names
        kinds = [[names.index(field) for field in kind[0].fields] for kind in self.kinds]
        return [ops.concatenate([fields[:, i] for i in kind], axis=-1) for kind in kinds]

    def _buckets_of(self, s: SequenceFeature, quantity: str) -> int:
        """Number of buckets of a quantity in one history; 1, unknown, where it has none."""
        if quantity == "match":
            return num_match_patterns(s)
        there = {"action": s.actions, "ratio": s.ratio, "age": s.ages}.get(quantity)
        sizes = {"action": s.num_actions, "ratio": NUM_RATIO_BUCKETS, "age": NUM_AGE_BUCKETS}
        return sizes[quantity] if there else 1

    def _bucket_ids(self, s: SequenceFeature, quantity: str, inputs: Mapping[str, Any]) -> Any:
        if self._buckets_of(s, quantity) == 1:
            return ops.zeros_like(inputs[s.name][:, :, 0])
        if quantity == "match":
            return match_patterns(self.schema, s, inputs)
        if quantity == "age":
            return inputs[f"{s.name}_age"]
        return inputs[s.name][:, :, self.schema.history_columns(s.name)[f"#{quantity}"].start]


def _is_event(history: Any) -> Any:
    return ops.not_equal(history[:, :, 0], 0)
