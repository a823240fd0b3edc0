"""Separate histories: models that read each history by itself, as rows or as tensors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import joined
from keras_infnet.models.tokens import Tokens


class SeparateHistories:
    """The histories of a schema as rows of the batch, so that one layer reads them all at once.

    Row `b * histories + k` is history `k` of example `b`, padded on the left to the longest.
    `tokens (rows, longest, dim)`, `mask (rows, longest)`, `candidate (rows, dim)`.

    Args:
        tokens: Tokens of a schema with history.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._of, self._rows = tokens, HistoryRows()
        self.number = len(tokens.histories)
        self.length = max(h.max_length for h in tokens.histories)
        self.tokens = self._as_rows(tokens.history)
        self.mask = ops.cast(self._as_rows(ops.cast(tokens.history_mask, "int32")), "bool")
        self.candidate = tokens.candidate()
        if self.number > 1:
            self.candidate = ops.repeat(self.candidate, self.number, axis=0)

    def ages(self) -> Any:
        """Buckets of the events' ages, int `(rows, longest)`; 0 in a history without ages."""
        return self._as_rows(joined([self._of.event_ids(h, "age") for h in self._of.histories]))

    def as_examples(self, rows: Any) -> Any:
        """`(rows, width)` as `(batch, histories * width)`."""
        return ops.reshape(rows, (-1, self.number * rows.shape[-1]))

    def _as_rows(self, x: Any) -> Any:
        """`(batch, all lengths, ...)` as `(rows, longest, ...)`."""
        if self.number == 1:
            return x
        return self._rows(x, self._of.packed_histories)


@keras.saving.register_keras_serializable(package="keras_infnet")
class HistoryRows(keras.layers.Layer):
    """Histories side by side, `(batch, total length, ...)`, as rows of the longest one's length."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Any, histories: Sequence[Any]) -> Any:
        lengths, shape = [ops.shape(history)[1] for history in histories], tuple(x.shape[2:])
        longest, parts, start = _longest(lengths), [], 0
        for length in lengths:
            padding = ((0, 0), (longest - length, 0), *((0, 0) for _ in shape))
            parts.append(ops.pad(x[:, start : start + length], padding))
            start += length
        return ops.reshape(ops.stack(parts, axis=1), (-1, longest, *shape))

    def compute_output_spec(self, x: Any, histories: Sequence[Any]) -> keras.KerasTensor:
        lengths = [history.shape[1] for history in histories]
        longest = None if None in lengths else max(lengths)
        return keras.KerasTensor((None, longest, *x.shape[2:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_infnet")
class HistoryParts(keras.layers.Layer):
    """Histories side by side, `(batch, total length, ...)`, as a list with one tensor for each."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Any, histories: Sequence[Any]) -> list[Any]:
        parts, start = [], 0
        for history in histories:
            stop = start + ops.shape(history)[1]
            parts.append(x[:, start:stop])
            start = stop
        return parts

    def compute_output_spec(self, x: Any, histories: Sequence[Any]) -> list[keras.KerasTensor]:
        shapes = [(x.shape[0], history.shape[1], *x.shape[2:]) for history in histories]
        return [keras.KerasTensor(shape, dtype=x.dtype) for shape in shapes]


def _longest(lengths: Sequence[Any]) -> Any:
    """The largest length: a number if all are known while the graph is made."""
    if all(isinstance(length, int) for length in lengths):
        return max(lengths)
    return ops.max(ops.stack([ops.cast(length, "int32") for length in lengths]))
