"""One stream: the events of all histories as one sequence, merged by age."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.event_quantity import Age

# Sorts behind all buckets of ages: events of unknown age are older, padding is older still.
_UNKNOWN, _PADDING = Age().program(None).num_ids, Age().program(None).num_ids + 1


class OneStream:
    """The histories of a schema as one sequence of events, padding first, the newest event last.

    `tokens (batch, length, dim)`, `mask (batch, length)`; at most `length` events. Events of
    several histories are merged by the buckets of their ages. In one bucket, and where ages are
    unknown, they stay in the order in which the histories lie in `S`; those of unknown age come
    before all others. A learned vector for each history is added. One history is a stream as it is.

    Args:
        tokens: Tokens of a schema with history.
        name: Name of the layer that merges. Defaults to `"merged_histories"`.
    """

    def __init__(self, tokens: Tokens, name: str = "merged_histories") -> None:
        self.length = sum(h.max_length for h in tokens.histories)
        self.tokens, self.mask = tokens.history, tokens.history_mask
        if len(tokens.histories) > 1:
            ages = [tokens.event_ids(h, "age") for h in tokens.histories]
            self.tokens, self.mask = MergedByAge(name=name)(self.tokens, ages, self.mask)


@keras.saving.register_keras_serializable(package="keras_infnet")
class MergedByAge(ConfiguredLayer):
    """Histories side by side, `(batch, total length, dim)`, as one, each with a learned vector."""

    def build(self, tokens_shape: tuple, ages_shape: Sequence[tuple]) -> None:
        shape, start = (len(ages_shape), tokens_shape[-1]), keras.initializers.RandomNormal(0, 0.01)
        self.kinds = self.add_weight(shape, start, name="kinds")

    def call(self, tokens: Any, ages: Sequence[Any], mask: Any) -> Any:
        kinds = ops.cast(self.kinds, tokens.dtype)
        of_events = [
            ops.broadcast_to(kinds[i], (ops.shape(of_history)[1], tokens.shape[2]))
            for i, of_history in enumerate(ages)
        ]
        order = _oldest_first(ops.concatenate(ages, axis=1), mask)
        tokens = ops.take_along_axis(
            tokens + ops.concatenate(of_events, axis=0), ops.expand_dims(order, -1), axis=1
        )
        # Padding is what comes first.
        events = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        length = ops.shape(order)[1]
        return tokens, ops.arange(length, dtype="int32")[None] >= length - events

    def compute_output_spec(self, tokens: Any, ages: Sequence[Any], mask: Any) -> Any:
        return (
            keras.KerasTensor(tokens.shape, dtype=self.compute_dtype),
            keras.KerasTensor(tokens.shape[:2], dtype="bool"),
        )


def _oldest_first(ages: Any, mask: Any) -> Any:
    """Places of padding, then of the events from the oldest to the newest, `(batch, length)`."""
    older = ops.where(ops.equal(ages, 0), np.int32(_UNKNOWN), ages)
    older = ops.where(mask, older, np.int32(_PADDING))
    # No two are equal, so that the sort is stable on every backend.
    length = ops.shape(ages)[1]
    return ops.argsort((_PADDING - older) * length + ops.arange(length, dtype="int32"), axis=1)
