"""Groups of tokens in the state of an `INFNetBlock`: memories, and who queries them."""

from collections.abc import Mapping
from typing import Any

from keras import ops

from keras_infnet.layers.shared_rows import with_all_rows

MEMORIES = ("fields", "history", "tasks")
# Who queries, and the memory that is its own group's.
QUERIES = {
    "field_proxies": "fields",
    "sequence_proxies": "history",
    "task_proxies": "tasks",
    "tasks": "tasks",
    "candidate_proxy": "tasks",
}
# Queries that are proxies, in the order of the memory `proxies`.
PROXIES = tuple(name for name in QUERIES if name != "tasks")


def stack_tokens(state: Mapping[str, Any], group: str) -> Any:
    """The tokens of a query group; those of a joint one, `a+b`, stand one after the other."""
    parts = [state[name] for name in group.split("+")]
    return parts[0] if len(parts) == 1 else ops.concatenate(with_all_rows(parts), axis=1)


def unstack_tokens(tokens: Any, group: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """What `stack_tokens` put together, by name; `state` tells how many each has."""
    names = group.split("+")
    if len(names) == 1:
        return {group: tokens}
    first = state[names[0]].shape[1]
    return {names[0]: tokens[:, :first], names[1]: tokens[:, first:]}


def count_tokens(state_shape: Mapping[str, Any], group: str) -> int:
    """Number of tokens of a query group."""
    return sum(state_shape[name][1] for name in group.split("+"))
