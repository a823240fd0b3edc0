"""Events of all histories, side by side along time: mask, groups and buckets."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.models.event_matches import match_patterns, num_match_patterns
from keras_infnet.models.event_rows import event_kinds, joined
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

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
        self.histories: list[History] = [s for kind in self.kinds for s in kind]
        self.positions = {}
        start = 0
        for s in self.histories:
            self.positions[s.name] = slice(start, start + s.max_length)
            start += s.max_length
        self.num_buckets = {}
        for quantity in event_context:
            sizes = [self._buckets_of(s, quantity) for s in self.histories]
            if quantity != "position" and max(sizes, default=1) > 1:
                self.num_buckets[quantity] = sum(sizes)
        self.lengths = tuple(s.max_length for s in self.histories)
        self.position_lengths = self.lengths if "position" in event_context else ()

    def mask(self, inputs: Mapping[str, Any]) -> Any:
        """Bool `(batch, length)`: where there is an event."""
        return joined([_is_event(inputs[s.name]) for s in self.histories])

    def groups(self, inputs: Mapping[str, Any]) -> list[Any]:
        """For each history, float `(batch, groups, length)`: 1 where an event is in a group."""
        groups = []
        for s in self.histories:
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
        """Ids `(batch, length)` by quantity; histories have ids of their own.

        Positions, `(1, length)`, are among them where layers can't tell them from lengths.
        """
        buckets = {}
        for quantity in self.num_buckets:
            parts, offset = [], 0
            for s in self.histories:
                parts.append(self._bucket_ids(s, quantity, inputs) + offset)
                offset += self._buckets_of(s, quantity)
            buckets[quantity] = joined(parts)
        if self.position_lengths and self._lack_positions(inputs):
            histories = [inputs[s.name] for s in self.histories]
            buckets["position"] = EventPositions(self.lengths)(histories)
        return buckets

    def candidate(self, fields: Any) -> list[Any]:
        """The candidate's fields, `(batch, fields * dim)` for each kind of event."""
        names = self.schema.field_names
        kinds = [[names.index(field) for field in kind[0].fields] for kind in self.kinds]
        return [ops.concatenate([fields[:, i] for i in kind], axis=-1) for kind in kinds]

    def _lack_positions(self, inputs: Mapping[str, Any]) -> bool:
        """Whether lengths vary, and not in one history with buckets, whose length is theirs."""
        varies = any(inputs[s.name].shape[1] is None for s in self.histories)
        return varies and not (len(self.histories) == 1 and self.num_buckets)

    def _buckets_of(self, s: History, quantity: str) -> int:
        """Number of buckets of a quantity in one history; 1, unknown, where it has none."""
        if quantity == "match":
            return num_match_patterns(s)
        there = {q.key: q for q in s.all_quantities if q.embedded}
        if quantity not in there:
            return 1
        return self.schema.quantity_size(s.name, there[quantity])

    def _bucket_ids(self, s: History, quantity: str, inputs: Mapping[str, Any]) -> Any:
        if self._buckets_of(s, quantity) == 1:
            return ops.zeros_like(inputs[s.name][:, :, 0])
        if quantity == "match":
            return match_patterns(self.schema, s, inputs)
        if any(q.key == quantity for q in s.of_row):
            return inputs[f"{s.name}_{quantity}"]
        return inputs[s.name][:, :, self.schema.history_columns(s.name)[f"#{quantity}"].start]


@keras.saving.register_keras_serializable(package="keras_infnet")
class EventPositions(keras.layers.Layer):
    """Rows of the position table, `(1, total length)`, for histories of any length."""

    def __init__(self, lengths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lengths = tuple(lengths)

    def call(self, histories: Sequence[Any]) -> Any:
        rows, first = [], 0
        for history, longest in zip(histories, self.lengths, strict=True):
            if (history.shape[1] or 0) > longest:
                raise ValueError(
                    f"Layer `{self.name}`: a history of {history.shape[1]} positions; expected at "
                    f"most {longest}. Keep the newest."
                )
            length = ops.shape(history)[1]
            rows.append(first + length - 1 - ops.arange(length, dtype="int32"))
            first += longest
        return ops.expand_dims(joined(rows, axis=0), 0)

    def compute_output_shape(self, histories_shape: Sequence[tuple]) -> tuple:
        lengths = [shape[1] for shape in histories_shape]
        return (1, None if None in lengths else sum(lengths))

    def compute_output_spec(self, histories: Sequence[Any]) -> keras.KerasTensor:
        shape = self.compute_output_shape([history.shape for history in histories])
        return keras.KerasTensor(shape, dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lengths": list(self.lengths)}


def _is_event(history: Any) -> Any:
    return ops.not_equal(history[:, :, 0], 0)
