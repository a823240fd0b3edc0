"""What each task of INFNet reads in embedding tables of its own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.event_rows import joined
from keras_infnet.models.schema_tokens import SchemaTokens


def own_representations(
    embedded: EmbeddedInputs, tokens: SchemaTokens, width: int
) -> dict[str, Any]:
    """`own_i = relu(W_i [flatten(C^i); means; log1p(n_f)/2] + b_i)`, `(batch, width)` by task.

    `C^i` are the fields in the tables of task `i`; the means are those of the events' rows in each
    group `f`, as they lie in the tables: a projection of events would be absorbed in `W_i`.
    """
    weights, half_log_counts = _means_by_kind(tokens) if tokens.history is not None else ([], [])
    outputs = {}
    for i, task in enumerate(embedded.schema.task_names):
        own = embedded.own(i)
        fields = own.fields
        parts = [ops.reshape(fields, (-1, fields.shape[1] * own.dim))]
        for of_kind, events in zip(weights, own.event_rows, strict=True):
            means = ops.matmul(ops.cast(of_kind, events.dtype), events)
            parts.append(ops.reshape(means, (-1, means.shape[1] * means.shape[2])))
        parts += [ops.cast(logs, fields.dtype) for logs in half_log_counts]
        dense = keras.layers.Dense(width, "relu", dtype=embedded.dtype, name=f"{task}_own")
        outputs[task] = dense(joined(parts))
    return outputs


def _means_by_kind(tokens: SchemaTokens) -> tuple[Sequence[Any], Sequence[Any]]:
    """For each kind of event: `(batch, groups, length)` that average, `log1p(n_f)/2`."""
    weights, half_log_counts, start = [], [], 0
    for kind in tokens.layout.kinds:
        groups = over_all_histories(tokens.groups[start : start + len(kind)])
        counts = ops.sum(groups, axis=-1)
        weights.append(groups / ops.expand_dims(ops.maximum(counts, 1.0), -1))
        half_log_counts.append(ops.log1p(counts) / 2)
        start += len(kind)
    return weights, half_log_counts
