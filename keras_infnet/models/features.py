"""Features of token models: fields by owner, and histories pooled or flat."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.grouped_attention_pooling import GroupedAttentionPooling
from keras_infnet.models.config import ModelConfig
from keras_infnet.models.tokens import Tokens

_OWNERS = ("user", "context", "item")


def fields_by_owner(tokens: Tokens) -> list[Any]:
    """Field tokens `(batch, dim)`, in the schema's order: the user's, the context's, the item's."""
    names, owner = tokens.schema.field_names, tokens.schema.token_owner
    ordered = sorted(range(len(names)), key=lambda i: _OWNERS.index(owner(names[i])))
    # The gradient of each slice would be as wide as all fields.
    apart = ops.split(tokens.fields, len(names), axis=1)
    return [ops.reshape(apart[i], (-1, tokens.dim)) for i in ordered]


def pooled_histories(tokens: Tokens, config: ModelConfig) -> list[Any]:
    """What a candidate finds in each group of events `(batch, dim)`, and a vector of the counts.

    `softmax_l((W_f cand + b_f) S_l / sqrt(d)) S_l` over the events of group `f`, 0 without any; the
    counts' vector is a projection of all `log1p(n_f)`. Without history there is none.
    """
    if tokens.history is None:
        return []
    attend = GroupedAttentionPooling(name="pooled_histories")
    pooled = attend(tokens.history, tokens.groups, tokens.candidate())
    return [*_apart(pooled), _counts(tokens.group_means()[1], config)]


def means_of_histories(tokens: Tokens, config: ModelConfig) -> list[Any]:
    """The mean of each group of events `(batch, dim)`, and a vector of the counts; or nothing."""
    if tokens.history is None:
        return []
    means, log_counts = tokens.group_means()
    return [*_apart(means), _counts(log_counts, config)]


def flat_history(tokens: Tokens) -> list[Any]:
    """All events side by side, `(batch, length * dim)`, zeros for padding; or nothing."""
    if tokens.history is None:
        return []
    there = ops.cast(ops.expand_dims(tokens.history_mask, -1), tokens.history.dtype)
    width = sum(h.max_length for h in tokens.histories) * tokens.dim
    return [ops.reshape(tokens.history * there, (-1, width))]


def _counts(log_counts: Any, config: ModelConfig) -> Any:
    """`log1p(n_f)` of all groups as one vector `(batch, dim)`, as small as embeddings are."""
    start: Any = keras.initializers.RandomNormal(stddev=config.embedding_stddev)
    return keras.layers.Dense(config.dim, None, False, start, name="counts")(log_counts)


def _apart(groups: Any) -> list[Any]:
    return [groups[:, f] for f in range(groups.shape[1])]
