"""One block of INFNet: the heterogeneous flow, then the homogeneous flow."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras

from keras_infnet.layers.heterogeneous_flow import HeterogeneousFlow
from keras_infnet.layers.proxy_gated_unit import ProxyGatedUnit
from keras_infnet.layers.token_groups import QUERIES, count_tokens, stack_tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class INFNetBlock(keras.layers.Layer):
    """Proxies and task tokens read the memories `C`, `S`, `T`; then proxies gate their tokens.

    Heterogeneous flow: `HeterogeneousFlow` makes `C~'`, `S~'`, `T~'`, `T^` and `K'`. Homogeneous
    flow: `C' = PGU(C, C~')`, `S' = PGU(S, S~')`, `T' = PGU(T^, T~')`. With `gate="sigmoid"`, `C'`
    and `S'` are never written: the running product of their gates is part of the state. The block
    updates the groups that the state holds and builds nothing for others.

    Args:
        dim: Width of all tokens.
        num_heads: Heads of each attention. Defaults to `1`.
        residual: Whether `Q` is added around the heterogeneous flow; off in version 1. Defaults to
            `True`.
        layer_norm: Whether there is an LN after the heterogeneous flow (version 2). Defaults to
            `False`.
        qk_norm: Whether queries and memories are divided by their root mean square for the scores;
            not in the paper. Defaults to `True`.
        share_kv: Whether all queries of a memory share one `W_K` and one `W_V`. Defaults to `True`.
        attend_own_group: Whether queries read all three memories (version 2). Defaults to `False`.
        joint_task_queries: Whether `[T; T~]` is one query group, and both gate `T` (version 2).
            Defaults to `False`.
        proxy_memory: Whether the proxies are a further memory, which all query groups read; not in
            the paper. Defaults to `False`.
        gate: Gate of `ProxyGatedUnit`. Defaults to `"sigmoid"`.
        gate_hidden_dim: Hidden width of the gates' MLP. Defaults to `None`: one Dense.
        gate_input: Whether the gates read the proxies after the heterogeneous flow (`"new"`) or
            before it (`"old"`). Defaults to `"new"`.
        gate_only: Groups of proxies that gate but are not updated, since nothing reads them
            afterwards. Defaults to `()`: all are updated.
        score_buckets: Buckets of `HistoryScoreBias` by quantity, for scores on the history.
            Defaults to `None`: no quantity.
        score_lengths: Lengths of the histories, for a score bias by position. Defaults to `()`:
            none.
        heterogeneous_flow: Whether it is there; if not, queries pass through. Defaults to `True`.
        homogeneous_flow: Whether it is there; if not, tokens pass through. Defaults to `True`.
        last: Whether no block follows, so that `C` and `S` need no gate. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        state: Dict of tensors. Required is `fields (batch, number, dim)`. Optional are `history
            (batch, length, dim)` with `history_mask (batch, length)`, bool, and
            `history_buckets`, a dict of ids `(batch, length)`; `tasks`, `field_proxies`,
            `sequence_proxies`, `task_proxies` and `candidate_proxy`, `(batch, number, dim)`;
            `fields_gate` and `history_gate`, `(batch, 1, dim)`. Any of them may have a batch of 1,
            which stands for all rows: a history of one user is read by the queries of many
            candidates without a copy.

    Returns:
        Dict with the state's entries that changed: proxies, `tasks`, and for a block that follows
        `fields_gate` and `history_gate` (`gate="sigmoid"`) or `fields` and `history`.

    Raises:
        ValueError: `gate_input` is unknown, or the state lacks `fields` or has a `history` without
            `history_mask`.

    Example:
        >>> block = keras_infnet.INFNetBlock(dim=8)
        >>> ones = keras.ops.ones
        >>> state = {"fields": ones((2, 6, 8)), "tasks": ones((2, 3, 8))}
        >>> state |= {"field_proxies": ones((2, 4, 8)), "task_proxies": ones((2, 2, 8))}
        >>> sorted(block(state))
        ['field_proxies', 'fields_gate', 'task_proxies', 'tasks']

    Reference:
        Li et al., INFNet, arXiv:2508.11565. The paper gates by the proxies "from the heterogeneous
        stage", which we take as the new ones; its equation shows the old ones.
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
        gate: Literal["sigmoid", "affine", "interpolate"] = "sigmoid",
        gate_hidden_dim: int | None = None,
        gate_input: Literal["new", "old"] = "new",
        gate_only: Sequence[str] = (),
        score_buckets: Mapping[str, int] | None = None,
        score_lengths: Sequence[int] = (),
        heterogeneous_flow: bool = True,
        homogeneous_flow: bool = True,
        last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gate_input not in ("new", "old"):
            raise ValueError(f'`gate_input` must be "new" or "old". Received: {gate_input!r}')
        self.dim = dim
        self.num_heads = num_heads
        self.residual = residual
        self.layer_norm = layer_norm
        self.qk_norm = qk_norm
        self.share_kv = share_kv
        self.attend_own_group = attend_own_group
        self.joint_task_queries = joint_task_queries
        self.proxy_memory = proxy_memory
        self.gate = gate
        self.gate_hidden_dim = gate_hidden_dim
        self.gate_input = gate_input
        self.gate_only = tuple(gate_only)
        self.score_buckets = dict(score_buckets or {})
        self.score_lengths = tuple(score_lengths)
        self.heterogeneous_flow = heterogeneous_flow
        self.homogeneous_flow = homogeneous_flow
        self.last = last
        self.flow = None
        if heterogeneous_flow:
            self.flow = HeterogeneousFlow(
                dim,
                num_heads=num_heads,
                residual=residual,
                layer_norm=layer_norm,
                qk_norm=qk_norm,
                share_kv=share_kv,
                attend_own_group=attend_own_group,
                joint_task_queries=joint_task_queries,
                proxy_memory=proxy_memory,
                score_buckets=score_buckets,
                score_lengths=score_lengths,
                dtype=self.dtype_policy,
                name="heterogeneous_flow",
            )

    def build(self, state_shape: Mapping[str, Any]) -> None:
        if self.flow is not None:
            self.flow.build(self._without_gate_only(state_shape))
        self.gates = {}
        for tokens, proxies in self._gated(state_shape).items():
            unit = ProxyGatedUnit(
                self.dim,
                self.gate,
                self.gate_hidden_dim,
                dtype=self.dtype_policy,
                name=f"{tokens}_gate",
            )
            count = count_tokens(state_shape, proxies)
            unit.build(tuple(state_shape[tokens]), (None, count, self.dim))
            self.gates[tokens] = unit

    def call(self, state: Mapping[str, Any]) -> dict[str, Any]:
        changed = self._heterogeneous(state)
        gated, gate_by = {}, state if self.gate_input == "old" else {**state, **changed}
        for tokens, proxies in self._gated(state).items():
            unit, hubs = self.gates[tokens], stack_tokens(gate_by, proxies)
            if tokens == "tasks":
                gated["tasks"] = unit(changed["tasks"], hubs)
            elif self.gate == "sigmoid":
                gate, before = unit.gate_vector(hubs), state.get(f"{tokens}_gate")
                gated[f"{tokens}_gate"] = gate if before is None else before * gate
            else:
                mask = state["history_mask"] if tokens == "history" else None
                gated[tokens] = unit(state[tokens], hubs, tokens_mask=mask)
        return {**changed, **gated}

    def attention_weights(self, state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What each query group of the built block reads, averaged over heads.

        Args:
            state: As in `call`.

        Returns:
            `{memory: {query group: (batch, queries, length)}}`, empty without heterogeneous flow.
        """
        if self.flow is None:
            return {}
        return self.flow.attention_weights(self._without_gate_only(state))

    def channel_gates(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """`ProxyGatedUnit.channel_gates` of the built block, by tokens; `state` as in `call`."""
        new = {**state, **self._heterogeneous(state)}
        hubs = state if self.gate_input == "old" else new
        return {
            name: self.gates[name].channel_gates(new[name], stack_tokens(hubs, proxies))
            for name, proxies in self._gated(state).items()
        }

    def compute_output_spec(self, state: Mapping[str, Any]) -> dict[str, keras.KerasTensor]:
        shapes = self.compute_output_shape({name: x.shape for name, x in _flat(state).items()})
        return {name: keras.KerasTensor(s, dtype=self.compute_dtype) for name, s in shapes.items()}

    def compute_output_shape(self, state_shape: Mapping[str, Any]) -> dict[str, tuple]:
        queried = self._without_gate_only(state_shape)
        shapes = {name: tuple(queried[name]) for name in QUERIES if name in queried}
        for tokens in self._gated(state_shape):
            if tokens != "tasks" and self.gate == "sigmoid":
                shapes[f"{tokens}_gate"] = (state_shape["fields"][0], 1, self.dim)
            else:
                shapes[tokens] = tuple(state_shape[tokens])
        return shapes

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
            "gate": self.gate,
            "gate_hidden_dim": self.gate_hidden_dim,
            "gate_input": self.gate_input,
            "gate_only": list(self.gate_only),
            "score_buckets": dict(self.score_buckets),
            "score_lengths": list(self.score_lengths),
            "heterogeneous_flow": self.heterogeneous_flow,
            "homogeneous_flow": self.homogeneous_flow,
            "last": self.last,
        }

    def _heterogeneous(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The query groups after the heterogeneous flow, if there is one."""
        queried = self._without_gate_only(state)
        if self.flow is None:
            return {name: queried[name] for name in QUERIES if name in queried}
        return self.flow(queried)

    def _without_gate_only(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {name: x for name, x in state.items() if name not in self.gate_only}

    def _gated(self, state: Mapping[str, Any]) -> dict[str, str]:
        """Tokens that this block gates, and the proxies that do it."""
        gated = {}
        if self.homogeneous_flow and self.heterogeneous_flow and not self.last:
            if "field_proxies" in state:
                gated["fields"] = "field_proxies"
            if "sequence_proxies" in state and "history" in state:
                gated["history"] = "sequence_proxies"
        if self.homogeneous_flow and {"tasks", "task_proxies"} <= set(state):
            gated["tasks"] = "tasks+task_proxies" if self.joint_task_queries else "task_proxies"
        return gated


def _flat(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in state.items() if not isinstance(x, Mapping)}
