"""Proxy cross attention, the heterogeneous flow: a few queries read a long memory once."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import (
    WEIGHTS,
    attention_pooling,
    attention_scores,
)
from keras_infnet._backend.project import project
from keras_infnet.layers.configured_layer import ConfiguredLayer

# Tokens start at some 1e-2, so it matters for those that are 0 alone, and bounds their gradient.
_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_infnet")
class ProxyCrossAttention(ConfiguredLayer):
    """Attention of several query sets to one memory `X`.

    `CA(Q, X) = softmax((Q W_Q) (X W_K)^T / sqrt(d_k) + bias) (X W_V)` with `d_k = dim / num_heads`;
    the heads' outputs stand side by side. It is computed as `softmax((Q W_Q W_K^T) X^T / sqrt(d_k))
    X W_V`, which is the same up to rounding: keys and values of the memory are never projected, all
    query sets and heads share one product `q X^T` and one `A X`, and a gate of the memory is folded
    into queries and output. Padding gets no weight, and where all of the memory is padding the
    output is 0. The softmax is in float32.

    With `qk_norm` scores are those of `Q / rms(Q)` and `X / rms(X)`, so that they do not start near
    0 where tokens do; values are `X` as it is. It costs one number a position.

    With `output_gate` the output is `CA(Q, X) * sigmoid(Q W_G)`, number by number, with a `W_G` for
    each query set, and `Q / rms(Q)` in place of `Q` where there is `qk_norm`. The gate starts near
    one half.

    With `activation="silu"` weights are `silu(score) / n` over the `n` positions that are no
    padding, in place of the softmax: they need not sum to 1, and what no query asks for adds
    nothing.

    Args:
        dim: Width of the output, and of queries and keys together over all heads.
        num_heads: Number of heads, a divisor of `dim`. Defaults to `1`.
        query_sets: Number of query tensors, each with its own `W_Q`. Defaults to `1`.
        share_kv: Whether all query sets share one `W_K` and one `W_V`. Defaults to `False`.
        qk_norm: Whether queries and memory are divided by their root mean square for the scores.
            Defaults to `False`.
        output_gate: Whether a gate made of the queries is multiplied to the output. Defaults to
            `False`.
        activation: `"softmax"` or `"silu"`. Defaults to `"softmax"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        queries: Float tensor `(batch, m, query width)`, or a list or dict of `query_sets` of them.
        memory: Float tensor `(batch, length, memory width)`.
        memory_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `memory`.
            Defaults to `None`: all positions are valid.
        memory_gate: Float tensor `(batch, 1, memory width)`: attend to `memory * memory_gate`
            without writing it. Defaults to `None`.
        score_bias: Float tensor `(batch, queries of all sets, length)`, added to the scores of all
            heads. Defaults to `None`.

    Each may have a batch of 1, which stands for all rows. A memory of one row is read as it lies by
    the queries of all rows, in one product; query sets of one row then read it once.

    Returns:
        Float tensor `(batch, m, dim)`, or a list or dict of them, as `queries`.

    Raises:
        ValueError: A size is below 1, `num_heads` does not divide `dim`, there is no such
            activation, or `queries` holds another number of sets than `query_sets`.

    Example:
        >>> attention = keras_infnet.layers.ProxyCrossAttention(dim=8)
        >>> tuple(attention(keras.ops.ones((2, 4, 8)), keras.ops.ones((2, 100, 8))).shape)
        (2, 4, 8)

    Reference:
        Li et al., INFNet, arXiv:2508.11565, heterogeneous flow. No bias in the projections and no
        projection after the heads: our choice. Henry et al., Query-Key Normalization for
        Transformers, arXiv:2010.04245, normalise what is projected, by its length. Qiu et al.,
        Gated Attention for Large Language Models, arXiv:2505.06708; no bias in the gate: our
        choice. Zhai et al., Actions Speak Louder than Words, arXiv:2402.17152, have SiLU for the
        softmax; they divide by the greatest length, which padding would change here.
    """

    takes_shared_rows = True

    def __init__(
        self,
        dim: int,
        num_heads: int = 1,
        query_sets: int = 1,
        share_kv: bool = False,
        qk_norm: bool = False,
        output_gate: bool = False,
        activation: Literal["softmax", "silu"] = "softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(dim, num_heads, query_sets) < 1 or dim % num_heads:
            raise ValueError(
                "`dim`, `num_heads` and `query_sets` must be 1 or more, and `num_heads` a divisor "
                f"of `dim`. Received: {dim=}, {num_heads=}, {query_sets=}"
            )
        if activation not in WEIGHTS:
            raise ValueError(
                f"`activation` must be one of {sorted(WEIGHTS)}. Received: {activation!r}"
            )
        self.supports_masking = True
        self.dim = dim
        self.num_heads = num_heads
        self.query_sets = query_sets
        self.share_kv = share_kv
        self.qk_norm = qk_norm
        self.output_gate = output_gate
        self.activation = activation

    def build(self, queries_shape: Any, memory_shape: tuple) -> None:
        self.set_names = list(queries_shape) if isinstance(queries_shape, Mapping) else None
        shapes = _as_list(queries_shape, self.set_names)
        if not isinstance(shapes[0], (list, tuple)):
            shapes = [queries_shape]
        self._check_sets(len(shapes))
        kv_sets = 1 if self.share_kv else self.query_sets
        self.query_kernels = [self._kernel("query", i, s[-1]) for i, s in enumerate(shapes)]
        self.key_kernels = [self._kernel("key", i, memory_shape[-1]) for i in range(kv_sets)]
        self.value_kernels = [self._kernel("value", i, memory_shape[-1]) for i in range(kv_sets)]
        gated = enumerate(shapes) if self.output_gate else ()
        self.gate_kernels = [self._kernel("gate", i, s[-1]) for i, s in gated]

    def call(
        self,
        queries: Any,
        memory: Any,
        memory_mask: Any = None,
        memory_gate: Any = None,
        score_bias: Any = None,
    ) -> Any:
        sets = self._as_sets(queries)
        bias, scale = self._bias_of_heads(score_bias), self._score_scale(memory, memory_gate)
        mask = None if memory_mask is None else ops.cast(memory_mask, "bool")
        outputs: dict[int, Any] = {}
        for chosen in _read_together(sets, memory, memory_gate):
            absorbed = self._absorbed_queries(sets, memory, memory_gate, chosen)
            of_chosen = self._bias_of_sets(bias, sets, chosen)
            pooled = attention_pooling(absorbed, memory, mask, of_chosen, scale, self.activation)
            if memory_gate is not None:
                pooled = pooled * memory_gate
            outputs |= self._project_values(pooled, sets, chosen)
        ordered = [self._gated(outputs[i], sets[i], i) for i in range(len(sets))]
        if self.set_names is not None:
            return dict(zip(self.set_names, ordered, strict=True))
        return ordered if isinstance(queries, (list, tuple)) else ordered[0]

    def attention_weights(
        self,
        queries: Any,
        memory: Any,
        memory_mask: Any = None,
        memory_gate: Any = None,
        score_bias: Any = None,
    ) -> Any:
        """What each query reads: the weights of the built layer, averaged over heads.

        Args:
            queries: As in `call`.
            memory: As in `call`.
            memory_mask: As in `call`. Defaults to `None`.
            memory_gate: As in `call`. Defaults to `None`.
            score_bias: As in `call`. Defaults to `None`.

        Returns:
            Float32 tensor `(batch, queries of all sets, length)`, or one `(batch, m, length)` for
            each name where `queries` is a dict; rows of a softmax sum to 1, or are 0 where all of
            the memory is padding.
        """
        sets = self._as_sets(queries)
        absorbed = self._absorbed_queries(sets, memory, memory_gate, range(len(sets)))
        scale = self._score_scale(memory, memory_gate)
        scores = attention_scores(absorbed, memory, self._bias_of_heads(score_bias), scale)
        mask = None if memory_mask is None else ops.cast(memory_mask, "bool")[:, None]
        weights = WEIGHTS[self.activation](scores, mask)
        shape = (-1, sum(q.shape[1] for q in sets), self.num_heads, *ops.shape(weights)[-1:])
        weights = ops.mean(ops.reshape(weights, shape), axis=2)
        if self.set_names is None:
            return weights
        parts = _split(weights, [q.shape[1] for q in sets])
        return dict(zip(self.set_names, parts, strict=True))

    def compute_output_shape(self, queries_shape: Any, memory_shape: tuple) -> Any:
        if isinstance(queries_shape, Mapping):
            return {name: (*shape[:-1], self.dim) for name, shape in queries_shape.items()}
        if isinstance(queries_shape[0], (list, tuple)):
            return [(*shape[:-1], self.dim) for shape in queries_shape]
        return (*queries_shape[:-1], self.dim)

    def _kernel(self, kind: str, i: int, width: int) -> Any:
        return self.add_weight((width, self.dim), "glorot_uniform", name=f"{kind}_kernel_{i}")

    def _as_sets(self, queries: Any) -> list[Any]:
        sets = _as_list(queries, self.set_names)
        self._check_sets(len(sets))
        return sets

    def _check_sets(self, found: int) -> None:
        if found != self.query_sets:
            raise ValueError(
                f"Layer `{self.name}`: `queries` holds {found} sets; expected "
                f"query_sets={self.query_sets}."
            )

    def _absorbed_queries(
        self, sets: list[Any], memory: Any, gate: Any, chosen: Sequence[int]
    ) -> Any:
        """`Q W_Q W_K^T / sqrt(d_k)`, `(batch, queries * heads, width)`, heads beside each other."""
        keys = self.key_kernels * (self.query_sets if self.share_kv else 1)
        parts = []
        for i in chosen:
            absorbed = project(
                self._normalised(sets[i]), self._absorb(self.query_kernels[i], keys[i])
            )
            if self.num_heads > 1:
                rows = sets[i].shape[1] * self.num_heads
                absorbed = ops.reshape(absorbed, (-1, rows, memory.shape[-1]))
            parts.append(absorbed)
        absorbed = parts[0] if len(parts) == 1 else ops.concatenate(_with_all_rows(parts), axis=1)
        return absorbed if gate is None else absorbed * gate

    def _normalised(self, queries: Any) -> Any:
        """`Q`, or `Q / rms(Q)` where scores are normalised."""
        if not self.qk_norm:
            return queries
        return queries * ops.cast(_inverse_rms(queries), queries.dtype)

    def _gated(self, output: Any, queries: Any, i: int) -> Any:
        if not self.output_gate:
            return output
        gate = ops.sigmoid(project(self._normalised(queries), self.gate_kernels[i]))
        return output * gate

    def _score_scale(self, memory: Any, gate: Any) -> Any:
        """What the scores on each position are multiplied by, `(batch, length)`, or None."""
        if not self.qk_norm:
            return None
        return _inverse_rms(memory if gate is None else memory * gate)[..., 0]

    def _bias_of_heads(self, score_bias: Any) -> Any:
        if score_bias is None or self.num_heads == 1:
            return score_bias
        return ops.repeat(score_bias, self.num_heads, axis=1)

    def _bias_of_sets(self, bias: Any, sets: list[Any], chosen: Sequence[int]) -> Any:
        """Of the bias of all heads, the rows of some query sets."""
        if bias is None or len(chosen) == len(sets):
            return bias
        parts = _split(bias, [q.shape[1] * self.num_heads for q in sets])
        return ops.concatenate([parts[i] for i in chosen], axis=1)

    def _absorb(self, query_kernel: Any, key_kernel: Any) -> Any:
        """`W_Q W_K^T / sqrt(d_k)`, heads side by side: (query width, heads * memory width)."""
        scale = (self.dim / self.num_heads) ** -0.5
        if self.num_heads == 1:
            return ops.matmul(query_kernel, ops.transpose(key_kernel)) * scale
        split = (-1, self.num_heads, self.dim // self.num_heads)
        w_q = ops.transpose(ops.reshape(query_kernel, split), (1, 0, 2))
        w_k = ops.transpose(ops.reshape(key_kernel, split), (1, 2, 0))
        per_head = ops.transpose(ops.matmul(w_q, w_k), (1, 0, 2)) * scale
        return ops.reshape(per_head, (per_head.shape[0], -1))

    def _project_values(
        self, pooled: Any, sets: list[Any], chosen: Sequence[int]
    ) -> dict[int, Any]:
        """`(A X) W_V` by query set."""
        sizes = [sets[i].shape[1] for i in chosen]
        if self.share_kv:
            parts = _split(self._project(pooled, self.value_kernels[0]), sizes)
        else:
            kernels = [self.value_kernels[i] for i in chosen]
            rows = _split(pooled, [n * self.num_heads for n in sizes])
            parts = [self._project(x, w_v) for x, w_v in zip(rows, kernels, strict=True)]
        return dict(zip(chosen, parts, strict=True))

    def _project(self, pooled: Any, kernel: Any) -> Any:
        if self.num_heads == 1:
            return project(pooled, kernel)
        head_dim = self.dim // self.num_heads
        heads = [
            project(pooled[:, h :: self.num_heads], kernel[:, h * head_dim : (h + 1) * head_dim])
            for h in range(self.num_heads)
        ]
        return ops.concatenate(heads, axis=-1)


def _as_list(queries: Any, names: list[str] | None) -> list[Any]:
    """Query sets, or their shapes, in the order of the weights."""
    if names is not None:
        return [queries[name] for name in names]
    return list(queries) if isinstance(queries, (list, tuple)) else [queries]


def _read_together(sets: list[Any], memory: Any, gate: Any) -> list[list[int]]:
    """Query sets by the pass over the memory that reads them: where all is shared, one is apart."""
    everything = list(range(len(sets)))
    if not _is_shared(memory) or not (gate is None or _is_shared(gate)):
        return [everything]
    shared = [i for i in everything if _is_shared(sets[i])]
    others = [i for i in everything if i not in shared]
    return [chosen for chosen in (shared, others) if chosen]


def _split(x: Any, sizes: list[int]) -> list[Any]:
    """Parts of axis 1 of these sizes."""
    return ops.split(x, list(itertools.accumulate(sizes[:-1])), axis=1) if len(sizes) > 1 else [x]


def _inverse_rms(x: Any) -> Any:
    """`1 / sqrt(mean(x^2) + 1e-6)` over the last axis, which stays as 1; in float32."""
    square = ops.square(ops.cast(x, "float32"))
    return ops.rsqrt(ops.mean(square, axis=-1, keepdims=True) + _EPSILON)


def _is_shared(tensor: Any) -> bool:
    """Whether a tensor has one row, known as such before it is computed, that stands for all."""
    return tensor.shape[0] == 1


def _with_all_rows(tensors: Sequence[Any]) -> list[Any]:
    """The same tensors, where those of one row are repeated if others have more."""
    shared = [_is_shared(tensor) for tensor in tensors]
    if all(shared) or not any(shared):
        return list(tensors)
    rows = ops.shape(tensors[shared.index(False)])[0]
    return [
        ops.broadcast_to(tensor, (rows, *ops.shape(tensor)[1:])) if one else tensor
        for tensor, one in zip(tensors, shared, strict=True)
    ]
