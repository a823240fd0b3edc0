"""Sequence encoder: optional self-attention over a history before models read it."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import masked_softmax
from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet.layers.configured_layer import ConfiguredLayer, event_positions


@keras.saving.register_keras_serializable(package="keras_infnet")
class SequenceEncoder(ConfiguredLayer):
    """Causal Transformer layers with relative positions, safe with padding on either side.

    Each layer is pre-norm: `X <- X + Attention(LN(X))`, `X <- X + W_2 relu(W_1 LN(X) + b_1) + b_2`.
    The score of event `l` on event `k` is `q_l k_k / sqrt(d_k) + r[l - k]`, one scalar for each
    head and distance; only events with `k <= l` that are not padding count. Padded positions come
    out as zeros and change nothing; a history of padding alone gives zeros. The cost grows with the
    square of the length.

    Args:
        num_layers: Number of layers. Defaults to `1`.
        num_heads: Number of heads, a divisor of the token width. Defaults to `1`.
        hidden_dim: Width of the feed-forward layer. Defaults to `None`: four times the token width.
        max_distance: Distances from here on share one bias. Defaults to `128`.
        dropout: Rate, on the output of each attention and feed-forward layer. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, length, dim)`, oldest event first.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Defaults to `None`: all tokens are valid.
        mask: The same; Keras fills it where `tokens` are the only tensor. Defaults to `None`.

    Returns:
        Float tensor `(batch, length, dim)`.

    Raises:
        ValueError: A size is below 1, `dropout` is outside [0, 1), or `num_heads` does not divide
            the token width.

    Example:
        >>> encoder = keras_infnet.layers.SequenceEncoder(num_layers=2, num_heads=2)
        >>> tuple(encoder(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference:
        Not in the INFNet paper. Relative position bias as in Raffel et al., T5, arXiv:1910.10683,
        without buckets.
    """

    def __init__(
        self,
        num_layers: int = 1,
        num_heads: int = 1,
        hidden_dim: int | None = None,
        max_distance: int = 128,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = (num_layers, num_heads, max_distance, 1 if hidden_dim is None else hidden_dim)
        if min(sizes) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "Sizes must be 1 or more, and `dropout` in [0, 1). Received: "
                f"{num_layers=}, {num_heads=}, {hidden_dim=}, {max_distance=}, {dropout=}"
            )
        self.supports_masking = True
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.max_distance = max_distance
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, tokens_shape: tuple) -> None:
        dim = tokens_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                f"Layer `{self.name}`: num_heads={self.num_heads} does not divide the token "
                f"width {dim}."
            )
        hidden_dim = self.hidden_dim or 4 * dim
        self.norms, self.projections, self.distance_tables = [], [], []
        for i in range(self.num_layers):
            self.norms.append(
                [self._norm(f"attention_norm_{i}", dim), self._norm(f"norm_{i}", dim)]
            )
            self.projections.append(
                {
                    "qkv": self._dense(f"qkv_{i}", dim, 3 * dim, use_bias=False),
                    "output": self._dense(f"output_{i}", dim, dim),
                    "hidden": self._dense(f"hidden_{i}", dim, hidden_dim, activation="relu"),
                    "feed_forward": self._dense(f"feed_forward_{i}", hidden_dim, dim),
                }
            )
            shape = (self.max_distance, self.num_heads)
            table = self.add_weight(shape, "zeros", name=f"distances_{i}", autocast=False)
            self.distance_tables.append(table)

    def call(
        self,
        tokens: Any,
        tokens_mask: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        tokens_mask = mask if tokens_mask is None else tokens_mask
        positions = event_positions(tokens)
        distances = positions[:, None] - positions[None]
        allowed = (distances >= 0)[None, None]
        if tokens_mask is not None:
            tokens_mask = ops.cast(tokens_mask, "bool")
            allowed = ops.logical_and(allowed, tokens_mask[:, None, None])
        distances = ops.clip(distances, 0, self.max_distance - 1)
        for norms, dense, table in zip(
            self.norms, self.projections, self.distance_tables, strict=True
        ):
            bias = ops.transpose(embedding_lookup(table, distances), (2, 0, 1))
            attended = self._attend(dense["qkv"](norms[0](tokens)), bias, allowed)
            tokens = tokens + self.dropout_layer(dense["output"](attended), training=training)
            hidden = dense["feed_forward"](dense["hidden"](norms[1](tokens)))
            tokens = tokens + self.dropout_layer(hidden, training=training)
        if tokens_mask is None:
            return tokens
        return tokens * ops.cast(ops.expand_dims(tokens_mask, -1), tokens.dtype)

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return tokens_shape

    def _attend(self, qkv: Any, bias: Any, allowed: Any) -> Any:
        length, width = ops.shape(qkv)[1], qkv.shape[2]
        head_dim = width // (3 * self.num_heads)
        qkv = ops.reshape(qkv, (-1, length, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)
        scores = ops.matmul(query * head_dim**-0.5, ops.swapaxes(key, 2, 3))
        weights = masked_softmax(ops.cast(scores, "float32") + bias, allowed)
        output = ops.matmul(ops.cast(weights, value.dtype), value)
        return ops.reshape(ops.transpose(output, (0, 2, 1, 3)), (-1, length, width // 3))
