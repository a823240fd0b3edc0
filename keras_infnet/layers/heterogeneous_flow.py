"""The heterogeneous flow: each query group reads the memories of the other groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.history_score_bias import HistoryScoreBias
from keras_infnet.layers.proxy_cross_attention import ProxyCrossAttention
from keras_infnet.layers.shared_rows import with_all_rows
from keras_infnet.layers.token_groups import (
    MEMORIES,
    PROXIES,
    QUERIES,
    count_tokens,
    stack_tokens,
    unstack_tokens,
)


@keras.saving.register_keras_serializable(package="keras_infnet")
class HeterogeneousFlow(keras.layers.Layer):
    """Proxies and task tokens read the memories `C`, `S` and `T`.

    For each query group `Q` of `C~`, `S~`, `T~`, `T` and the candidate `K`:

    - `Q' = Q + sum_X CA(Q, X)` over the memories `X` of the other groups (the default, and without
      `Q +` version 1), or
    - `Q' = LN(Q + W [CA(Q, C); CA(Q, S); CA(Q, T)] + b)` with `attend_own_group=True` and
      `layer_norm=True` (version 2).

    With `proxy_memory`, every group reads the proxies `[C~; S~; T~; K]` too, its own included.

    `K` reads what `T` reads. Each memory is read once for all its queries. Memories and groups that
    the state lacks are left out; a group left without memory passes through unchanged.

    Args:
        dim: Width of all tokens.
        num_heads: Heads of each attention. Defaults to `1`.
        residual: Whether `Q` is added; not in version 1. Defaults to `True`.
        layer_norm: Whether there is an LN, as in version 2. Defaults to `False`: it would hide from
            the heads how large a proxy is.
        qk_norm: Whether queries and memories are divided by their root mean square for the scores;
            not in the paper. Defaults to `True`.
        share_kv: Whether all queries of a memory share one `W_K` and one `W_V`. Defaults to `True`.
        attend_own_group: Whether queries read all three memories (version 2). Defaults to `False`.
        joint_task_queries: Whether `[T; T~]` is one query group (version 2). Defaults to `False`.
        proxy_memory: Whether the proxies are a further memory, which all query groups read; not in
            the paper. Defaults to `False`.
        score_buckets: Buckets of `HistoryScoreBias` by quantity, for scores on the history.
            Defaults to `None`: no quantity.
        score_lengths: Lengths of the histories, for a score bias by position. Defaults to `()`:
            none.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        state: Dict of tensors, as in `INFNetBlock`; any may have a batch of 1, which stands for
            all rows.

    Returns:
        Dict with the new tokens of the query groups that the state holds.

    Raises:
        ValueError: The state lacks `fields`, or has a `history` without `history_mask`.

    Example:
        >>> flow = keras_infnet.HeterogeneousFlow(dim=8)
        >>> ones = keras.ops.ones
        >>> state = {"fields": ones((2, 6, 8)), "tasks": ones((2, 3, 8))}
        >>> sorted(flow({**state, "field_proxies": ones((2, 4, 8))}))
        ['field_proxies', 'tasks']

    Reference:
        Li et al., INFNet, arXiv:2508.11565, heterogeneous flow. `K` is our choice.
    """

    takes_shared_rows = True

    def __init__(
        self,
        dim: int,
        num_heads: int = 1,
        residual: bool = True,
        layer_norm: bool = False,
        qk_norm: bool = True,
        share_kv: bool = True,
        attend_own_group: bool = False,
        joint_task_queries: bool = False,
        proxy_memory: bool = False,
        score_buckets: Mapping[str, int] | None = None,
        score_lengths: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.residual = residual
        self.layer_norm = layer_norm
        self.qk_norm = qk_norm
        self.share_kv = share_kv
        self.attend_own_group = attend_own_group
        self.joint_task_queries = joint_task_queries
        self.proxy_memory = proxy_memory
        self.score_buckets = dict(score_buckets or {})
        self.score_lengths = tuple(score_lengths)

    def build(self, state_shape: Mapping[str, Any]) -> None:
        self._check_state(state_shape)
        self.attentions, self.fusions, self.norms = {}, {}, {}
        self.score_bias = None
        count = {name: count_tokens(state_shape, name) for name in self._query_groups(state_shape)}
        for memory, shape in self._memory_shapes(state_shape).items():
            readers = self._readers(memory, state_shape)
            if readers:
                self._build_attention(memory, shape, [count[n] for n in readers])
        for name in count:
            if not any(name in self._readers(memory, state_shape) for memory in self.attentions):
                continue
            if self.attend_own_group:
                self.fusions[name] = keras.layers.Dense(
                    self.dim, dtype=self.dtype_policy, name=f"{name.replace('+', '_and_')}_fusion"
                )
                self.fusions[name].build((None, None, len(self.attentions) * self.dim))
            if self.layer_norm:
                self.norms[name] = keras.layers.LayerNormalization(
                    dtype=self.dtype_policy, name=f"{name.replace('+', '_and_')}_norm"
                )
                self.norms[name].build((None, None, self.dim))

    def call(self, state: Mapping[str, Any]) -> dict[str, Any]:
        results = {name: [] for name in self._query_groups(state)}
        for memory, attention in self.attentions.items():
            outputs = attention(**self._arguments(memory, state))
            for name, output in zip(self._readers(memory, state), outputs, strict=True):
                results[name].append(output)
        updated = {}
        for name, outputs in results.items():
            tokens = stack_tokens(state, name)
            if outputs:
                tokens = self._update(name, tokens, outputs)
            updated |= unstack_tokens(tokens, name, state)
        return updated

    def attention_weights(self, state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What each query group of the built layer reads, averaged over heads.

        Args:
            state: As in `call`.

        Returns:
            `{memory: {query group: (batch, queries, length)}}`; rows sum to 1, or are 0 where the
            history is empty.
        """
        maps = {}
        for memory, attention in self.attentions.items():
            weights = attention.attention_weights(**self._arguments(memory, state))
            maps[memory], start = {}, 0
            for name in "+".join(self._readers(memory, state)).split("+"):
                maps[memory][name] = weights[:, start : start + state[name].shape[1]]
                start += state[name].shape[1]
        return maps

    def compute_output_spec(self, state: Mapping[str, Any]) -> dict[str, keras.KerasTensor]:
        shapes = {name: state[name].shape for name in QUERIES if name in state}
        return {name: keras.KerasTensor(s, dtype=self.compute_dtype) for name, s in shapes.items()}

    def compute_output_shape(self, state_shape: Mapping[str, Any]) -> dict[str, tuple]:
        return {name: tuple(state_shape[name]) for name in QUERIES if name in state_shape}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dim": self.dim,
            "num_heads": self.num_heads,
            "residual": self.residual,
            "layer_norm": self.layer_norm,
            "qk_norm": self.qk_norm,
            "share_kv": self.share_kv,
            "attend_own_group": self.attend_own_group,
            "joint_task_queries": self.joint_task_queries,
            "proxy_memory": self.proxy_memory,
            "score_buckets": dict(self.score_buckets),
            "score_lengths": list(self.score_lengths),
        }

    def _update(self, name: str, tokens: Any, outputs: list[Any]) -> Any:
        """New tokens of a query group, from what it read in each memory."""
        if self.attend_own_group:
            flow = self.fusions[name](ops.concatenate(with_all_rows(outputs), axis=-1))
        else:
            flow = sum(outputs[1:], outputs[0])
        if self.residual:
            flow = tokens + flow
        return self.norms[name](flow) if self.layer_norm else flow

    def _memory_shapes(self, state_shape: Mapping[str, Any]) -> dict[str, tuple]:
        """Shapes of the memories that the state holds."""
        shapes = {name: state_shape[name] for name in MEMORIES if name in state_shape}
        proxies = _proxies(state_shape)
        if self.proxy_memory and proxies:
            shapes["proxies"] = (None, count_tokens(state_shape, proxies), self.dim)
        return shapes

    def _query_groups(self, state: Mapping[str, Any]) -> list[str]:
        """Query groups that the state holds; `tasks+task_proxies` is a joint one."""
        names = [name for name in QUERIES if name in state]
        if self.joint_task_queries and {"tasks", "task_proxies"} <= set(names):
            names[names.index("task_proxies")] = "tasks+task_proxies"
            names.remove("tasks")
        return names

    def _readers(self, memory: str, state: Mapping[str, Any]) -> list[str]:
        """Query groups that read a memory."""
        return [
            name
            for name in self._query_groups(state)
            if self.attend_own_group or QUERIES[name.split("+")[0]] != memory
        ]

    def _build_attention(self, memory: str, shape: tuple, counts: list[int]) -> None:
        attention = ProxyCrossAttention(
            self.dim,
            self.num_heads,
            query_sets=len(counts),
            share_kv=self.share_kv,
            qk_norm=self.qk_norm,
            dtype=self.dtype_policy,
            name=f"{memory}_attention",
        )
        attention.build([(None, count, self.dim) for count in counts], tuple(shape))
        self.attentions[memory] = attention
        if memory == "history" and (self.score_buckets or self.score_lengths):
            self.score_bias = HistoryScoreBias(
                sum(counts),
                self.score_buckets,
                self.score_lengths,
                dtype=self.dtype_policy,
                name="history_score_bias",
            )
            self.score_bias.build()

    def _arguments(self, memory: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the attention to one memory."""
        arguments = {
            "queries": [stack_tokens(state, name) for name in self._readers(memory, state)],
            "memory": stack_tokens(state, _proxies(state) if memory == "proxies" else memory),
            "memory_gate": state.get(f"{memory}_gate"),
        }
        if memory == "history":
            arguments["memory_mask"] = state["history_mask"]
            if self.score_bias is not None:
                arguments["score_bias"] = self.score_bias(state.get("history_buckets", {}))
        return arguments

    def _check_state(self, state: Mapping[str, Any]) -> None:
        required = ["fields"] + ["history_mask"] * ("history" in state)
        missing = [name for name in required if name not in state]
        if missing:
            raise ValueError(
                f"Layer `{self.name}`: `state` lacks {missing}. Received: {sorted(state)}"
            )


def _proxies(state: Mapping[str, Any]) -> str:
    """The proxies that the state holds, as one group."""
    return "+".join(name for name in PROXIES if name in state)
