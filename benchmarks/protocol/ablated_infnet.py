"""INFNet with what its ablations add: no proxies in blocks, no alternation, tables of each task.

And what other rankers do: a feed-forward layer of each query, tokens mixed by head, old events
merged.
"""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._base.fields import at_least, declared, one_of
from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.layers.per_token_feed_forward import PerTokenFeedForward
from keras_infnet.layers.token_mixing import TokenMixing
from keras_infnet.models.embedded_inputs import joined, mean_of_bag
from keras_infnet.models.event_groups import EventGroups
from keras_infnet.models.infnet import (
    GATED_BY,
    INFNet,
    Memory,
    asking,
    first_tokens,
    gated,
    gated_tasks,
    head_inputs,
    heterogeneous_flow,
    proxies_of,
)
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="benchmarks")
class AblatedINFNet(INFNet):
    """`INFNet` and switches that no user would turn.

    With `all_to_all` there are no proxies in the blocks: `C' = C + CA(C, S) + CA(C, T)` and `S' = S
    + CA(S, C) + CA(S, T)`, which no gate follows; heads read proxies of the last `C'` and `S'`.

    With `alternates=False` all heterogeneous flows come first and read tokens that nothing gates;
    then all homogeneous flows gate `T` by the last proxies. It differs from two blocks on.

    With `own_dim` head `i` reads `own_i = relu(W_i [flatten(C^i); mean of each group of events;
    log1p(n_f)/2] + b_i)` of width `head_dim` too, from tables of its own, `own_dim` wide, and `T_i`
    starts with a projection of it added.

    With `num_recent_proxies` heads read the tokens of the newest events of each history beside `H`,
    zeros where there is no event.

    With `feed_forward="per_token"` all queries `Q` of a block, the proxies and `T`, become `Q +
    pFFN(RMSNorm(Q))` after the heterogeneous flow, with weights of each token's own; with
    `"mixed"` they were `Q + Mix(Q)` before, zero tokens behind them until their number divides
    `dim`.

    With `events_per_token=K` blocks read the newest `num_raw_events` of each history as they are,
    and of those before every `K` neighbours as one token `W [S_1; ...; S_K] + b`, zeros where
    padded, whose action, age and position are the newest one's. Pooling reads all of them.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(INFNet.Config):
        """Arguments of `AblatedINFNet`, which says what they mean."""

        all_to_all: bool = declared(False)
        alternates: bool = declared(True)
        own_dim: int = at_least(0, default=0)
        num_recent_proxies: int = at_least(0, default=0)
        feed_forward: Literal["none", "per_token", "mixed"] = one_of("none", "per_token", "mixed")
        events_per_token: int = at_least(1, default=1)
        num_raw_events: int = at_least(1, default=16)

        @property
        def task_table_dim(self) -> int:
            return self.own_dim

        @property
        def any_length(self) -> bool:
            reads_places = self.num_recent_proxies or self.events_per_token > 1
            return super().any_length and not (self.all_to_all or reads_places)

        def check(self, model: str) -> None:
            super().check(model)
            if self.beta:
                raise ValueError(
                    f"{model}: beta={self.beta}; only INFNet itself has an objective for proxies. "
                    "Set beta=0."
                )
            if self.all_to_all and self.form.own_group:
                raise ValueError(
                    f"{model}: all_to_all=True in a form with own_group=True would let the history "
                    "read itself, at a cost of its length squared. Use one of them."
                )
            if self.num_recent_proxies and not self.form.uses_candidate:
                raise ValueError(
                    f"{model}: num_recent_proxies={self.num_recent_proxies}, which heads alone "
                    "read, in a form whose heads read no proxies. Set num_recent_proxies=0."
                )

    @staticmethod
    def network(tokens: Tokens, config: "AblatedINFNet.Config") -> dict[str, Any]:
        """As `INFNet.network`, with the switches."""
        memories, queries = first_tokens(tokens, config)
        if config.events_per_token > 1 and tokens.history is not None:
            memories["history"], tokens = _with_old_events_merged(
                memories["history"], tokens, config
            )
        own = _own_representations(tokens, config.head_dim) if config.own_dim else {}
        if own and "tasks" in queries:
            projected = [
                keras.layers.Dense(config.dim, use_bias=False, name=f"{task}_own_token")(x)
                for task, x in own.items()
            ]
            queries["tasks"] += ops.stack(projected, axis=1)
        groups = {memory: proxies for memory, proxies in GATED_BY.items() if memory in memories}
        if config.all_to_all:
            queries |= {queried: memories[memory].tokens for memory, queried in groups.items()}
        gates = config.homogeneous_flow and config.heterogeneous_flow and config.alternates
        for i in range(config.num_blocks):
            block, last = f"block_{i}", i == config.num_blocks - 1
            if "tasks" in queries:
                memories["tasks"] = Memory(queries["tasks"])
            if config.heterogeneous_flow:
                those = asking(queries, config, last)
                queries |= heterogeneous_flow(those, memories, tokens, config, block)
                if config.feed_forward != "none":
                    queries |= _fed_forward(
                        {group: queries[group] for group in those}, config, block
                    )
            for memory, queried in groups.items():
                if config.all_to_all:
                    memories[memory] = Memory(queries[queried], memories[memory].mask)
                elif gates and not last:
                    name = f"{block}_{memory}"
                    memories[memory] = gated(memories[memory], queries[queried], config, name)
            if config.homogeneous_flow and config.alternates:
                queries |= gated_tasks(queries, config, block)
        if config.homogeneous_flow and not config.alternates:
            # Gated fields and events would have no reader any more.
            for i in range(config.num_blocks):
                queries |= gated_tasks(queries, config, f"block_{i}")
        if config.all_to_all:
            queries |= proxies_of(memories, tokens, config)
        if config.num_recent_proxies and tokens.history is not None:
            recent = _recent_tokens(tokens, config.num_recent_proxies)
            candidate = queries["candidate_proxy"]
            queries["candidate_proxy"] = ops.concatenate([candidate, recent], axis=1)
        found = head_inputs(tokens, queries, config)
        return {
            task: ops.concatenate([x, own[task]], axis=-1) if own else x
            for task, x in found.items()
        }


def _fed_forward(
    queries: Mapping[str, Any], config: AblatedINFNet.Config, block: str
) -> dict[str, Any]:
    """`Q + pFFN(RMSNorm(Q))` of all queries side by side, by group; first, if so, `Q + Mix(Q)`."""
    x = joined(list(queries.values()))
    number, dim = x.shape[1:]
    if config.feed_forward == "mixed":
        divisors = [n for n in range(number, dim + 1) if dim % n == 0]
        if not divisors:
            raise ValueError(
                f'AblatedINFNet: feed_forward="mixed" with {number} queries of width dim={dim}; '
                "expected no more queries than that."
            )
        filled = ops.pad(x, ((0, 0), (0, divisors[0] - number), (0, 0)))
        x = x + TokenMixing(name=f"{block}_mixing")(filled)[:, :number]
    normed = keras.layers.RMSNormalization(name=f"{block}_feed_forward_norm")(x)
    x = x + PerTokenFeedForward(name=f"{block}_feed_forward")(normed)
    ends = [0, *itertools.accumulate(group.shape[1] for group in queries.values())]
    parts = itertools.pairwise(ends)
    return {group: x[:, start:end] for group, (start, end) in zip(queries, parts, strict=True)}


def _with_old_events_merged(
    memory: Memory, tokens: Tokens, config: AblatedINFNet.Config
) -> tuple[Memory, Tokens]:
    """The memory of the events with older ones merged, and tokens that know its buckets."""
    size, dim = config.events_per_token, config.dim
    in_groups = EventGroups(size)
    merge = keras.layers.Dense(dim, name="merged_events")

    def cut(x: Any, merged: Callable[[Any], Any]) -> Any:
        parts = []
        for part in tokens.parts_of_history:
            newest = max(part.start, part.stop - config.num_raw_events)
            old = [merged(in_groups(x[:, part.start : newest]))] if newest > part.start else []
            parts += [*old, x[:, newest : part.stop]]
        return joined(parts)

    there = ops.cast(ops.expand_dims(memory.mask, -1), memory.tokens.dtype)
    merged = cut(
        memory.tokens * there, lambda x: merge(ops.reshape(x, (-1, x.shape[1], size * dim)))
    )
    mask = cut(memory.mask, lambda x: ops.any(x, axis=-1))
    known = copy.copy(tokens)
    known.buckets = {
        quantity: cut(ids, lambda x: x[:, :, -1]) for quantity, ids in tokens.buckets.items()
    }
    return replace(memory, tokens=merged, mask=mask), known


def _own_representations(tokens: Tokens, width: int) -> dict[str, Any]:
    """`own_i (batch, width)` by task.

    The means are those of the events' rows in each group, as they lie in the tables: a projection
    of events would be absorbed in `W_i`.
    """
    weights, half_log_counts = _means_by_kind(tokens) if tokens.history is not None else ([], [])
    outputs = {}
    for task in tokens.task_names:
        own = tokens.own(task)
        parts = [ops.reshape(own.fields, (-1, own.fields.shape[1] * own.dim))]
        for of_kind, events in zip(weights, own.events if weights else (), strict=True):
            rows = _event_rows(events)
            means = ops.matmul(ops.cast(of_kind, rows.dtype), rows)
            parts.append(ops.reshape(means, (-1, means.shape[1] * means.shape[2])))
        parts += [ops.cast(logs, parts[0].dtype) for logs in half_log_counts]
        outputs[task] = keras.layers.Dense(width, "relu", name=f"{task}_own")(joined(parts))
    return outputs


def _event_rows(events: Any) -> Any:
    """Rows `(batch, length, fields * dim)` of a kind of event, also where ids are given."""
    if not isinstance(events, Mapping):
        return events
    rows, added = [], events.get("added", {})
    for place, (ids, table) in enumerate(zip(events["ids"], events["tables"], strict=True)):
        of_field = ops.take(table, ids, axis=0)
        there = ops.cast(ops.not_equal(ids, 0), of_field.dtype)
        rows.append(of_field[:, :, 0] if ids.shape[-1] == 1 else mean_of_bag(of_field, there))
        if str(place) in added:
            rows[-1] = rows[-1] + added[str(place)]
    return joined(rows, axis=-1)


def _means_by_kind(tokens: Tokens) -> tuple[Sequence[Any], Sequence[Any]]:
    """For each kind of event: `(batch, groups, length)` that average, `log1p(n_f)/2`."""
    weights, half_log_counts, start = [], [], 0
    for kind in tokens.schema.event_kinds():
        groups = over_all_histories(tokens.groups[start : start + len(kind)])
        counts = ops.sum(groups, axis=-1)
        weights.append(groups / ops.expand_dims(ops.maximum(counts, 1.0), -1))
        half_log_counts.append(ops.log1p(counts) / 2)
        start += len(kind)
    return weights, half_log_counts


def _recent_tokens(tokens: Tokens, number: int) -> Any:
    """The newest events' tokens of each history, zeros where there is no event."""
    there = ops.cast(ops.expand_dims(tokens.history_mask, -1), tokens.history.dtype)
    parts = []
    for part in tokens.parts_of_history:
        newest = slice(max(part.start, part.stop - number), part.stop)
        parts.append(tokens.history[:, newest] * there[:, newest])
    return joined(parts)
