"""INFNet's proxies and task tokens, and what the heads read of them."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.grouped_pooling import GroupedPooling
from keras_infnet.layers.task_token_embedding import TaskTokenEmbedding
from keras_infnet.models.event_rows import joined
from keras_infnet.models.schema_tokens import SchemaTokens

# What heads read of the state, in this order.
_PROXIES = (
    "field_proxies",
    "sequence_proxies",
    "task_proxies",
    "candidate_proxy",
    "recent_proxies",
)


def first_state(
    tokens: SchemaTokens, own: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """State of the first `INFNetBlock`: memories, proxies and task tokens.

    In the all-to-all form fields and events themselves take the place of their proxies.
    """
    state = {"fields": tokens.fields}
    if given["task_tokens"]:
        state["tasks"] = _task_tokens(len(tokens.schema.tasks), "tasks", tokens, given)
        if own:
            state["tasks"] += _own_tokens(tokens, own)
    if given["num_task_proxies"]:
        number = given["num_task_proxies"]
        state["task_proxies"] = _task_tokens(number, "task_proxies", tokens, given)
    if given["candidate_proxy"] and given["read_proxies"]:
        state["candidate_proxy"] = _as_tokens(tokens.candidate(), 1, tokens, "candidate_proxy")
    if tokens.history is not None:
        state |= {"history": tokens.history, "history_mask": tokens.history_mask}
        if tokens.buckets:
            state["history_buckets"] = tokens.buckets
    if not given["all_to_all"]:
        return state | proxies_of(tokens, tokens.fields, tokens.history, given)
    state["field_proxies"] = tokens.fields
    if tokens.history is not None:
        state["sequence_proxies"] = tokens.history
    return state


def proxies_of(
    tokens: SchemaTokens, fields: Any, history: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    """`C~ = reshape(W_c flatten(C))`, and `S~` by `GroupedPooling`."""
    dtype = tokens.dtype
    flat = keras.layers.Flatten(dtype=dtype, name="flat_fields")(fields)
    proxies = {
        "field_proxies": _as_tokens(flat, given["num_field_proxies"], tokens, "field_proxies")
    }
    if history is not None:
        pooling = GroupedPooling(tokens.dim, given["pooling"], dtype=dtype, name="sequence_proxies")
        proxies["sequence_proxies"] = pooling(history, tokens.groups)
    return proxies


def head_inputs(
    tokens: SchemaTokens, state: Mapping[str, Any], own: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What head `i` reads: `[T_i; flatten(H); flatten((W_p cand + b_p) * (H W_h)); own_i]`."""
    shared = []
    if given["read_proxies"]:
        if given["num_recent_proxies"] and tokens.history is not None:
            state = {**state, "recent_proxies": _recent_tokens(tokens, given["num_recent_proxies"])}
        proxies = ops.concatenate([state[name] for name in _PROXIES if name in state], axis=1)
        width = proxies.shape[1] * tokens.dim
        shared.append(ops.reshape(proxies, (-1, width)))
        if given["candidate_products"]:
            scale = _as_tokens(tokens.candidate(), 1, tokens, "product_candidate")
            project = keras.layers.Dense(
                tokens.dim, use_bias=False, dtype=tokens.dtype, name="product_proxies"
            )
            shared.append(ops.reshape(scale * project(proxies), (-1, width)))
    representations = {}
    for i, name in enumerate(tokens.schema.task_names):
        parts = [state["tasks"][:, i]] if "tasks" in state else []
        representations[name] = joined([*parts, *shared, *([own[name]] if own else [])])
    return representations


def _recent_tokens(tokens: SchemaTokens, number: int) -> Any:
    """The newest events' tokens of each history, zeros where there is no event."""
    there = ops.cast(ops.expand_dims(tokens.history_mask, -1), tokens.history.dtype)
    parts = []
    for position in tokens.layout.positions.values():
        newest = slice(max(position.start, position.stop - number), position.stop)
        parts.append(tokens.history[:, newest] * there[:, newest])
    return joined(parts)


def _task_tokens(number: int, name: str, tokens: SchemaTokens, given: Mapping[str, Any]) -> Any:
    """`T = t`, or `T = t + reshape(W cand)`."""
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    learned = TaskTokenEmbedding(number, tokens.dim, initializer, dtype=tokens.dtype, name=name)(
        tokens.fields
    )
    if not given["condition_on_candidate"]:
        return learned
    candidate = tokens.candidate()
    return learned + _as_tokens(candidate, number, tokens, f"{name}_of_candidate", use_bias=False)


def _own_tokens(tokens: SchemaTokens, own: Mapping[str, Any]) -> Any:
    """What each task's own tables add to its token, `(batch, tasks, dim)`."""
    return ops.concatenate(
        [_as_tokens(x, 1, tokens, f"{task}_own_token", use_bias=False) for task, x in own.items()],
        axis=1,
    )


def _as_tokens(
    inputs: Any, number: int, tokens: SchemaTokens, name: str, use_bias: bool = True
) -> Any:
    """`reshape(W x)`: a vector `(batch, width)` as `(batch, number, dim)`."""
    width = number * tokens.dim
    project = keras.layers.Dense(width, use_bias=use_bias, dtype=tokens.dtype, name=name)
    return ops.reshape(project(inputs), (-1, number, tokens.dim))
