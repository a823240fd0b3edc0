"""HSTU layer: gated pointwise attention over a history."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet.layers.configured_layer import ConfiguredLayer, event_positions


@keras.saving.register_keras_serializable(package="keras_infnet")
class HSTULayer(ConfiguredLayer):
    """Hierarchical sequential transduction unit, causal, safe with padding on either side.

    - `U, V, Q, K = split(silu(LN(X) W))`;
    - `A_ts = silu(q_t k_s + p[t - s] + r[interval(t, s)]) / N` for tokens `s <= t` that are not
      padding, 0 for others; `N` is the number of tokens that are not padding;
    - `Y = X + W_o (LN(A V) * U) + b_o`.

    There is no softmax, so that the number of events is not lost. LN has neither gain nor bias.
    `p` and `r` are scalars, shared by the heads. Times are known as buckets of ages, `b = 1 +
    floor(log2(seconds + 1))` and 0 for unknown; bucket `b` is taken at its lower end, `2^(b-1) - 1`
    seconds, and an interval is the bucket of the difference, or 0 where an age is unknown. Padded
    positions come out as zeros.

    Args:
        num_heads: Number of heads, a divisor of the token width. Defaults to `1`.
        max_distance: Distances from here on share one `p`. Defaults to `128`.
        num_age_buckets: Number of buckets of ages. Defaults to `0`: no bias by time.
        last_only: Whether only the last token is computed, whose cost grows with the length and not
            with its square: what a last layer needs if the candidate is the last token. Defaults to
            `False`.
        dropout: Rate on `LN(A V) * U`. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, length, dim)`, oldest event first.
        ages: Integer tensor `(batch, length)`, buckets of ages. Defaults to `None`; needed with
            `num_age_buckets`.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Defaults to `None`: all tokens are valid.
        mask: The same; Keras fills it where `tokens` are the only tensor. Defaults to `None`.

    Returns:
        Float tensor `(batch, length, dim)`, or `(batch, 1, dim)` with `last_only`.

    Raises:
        ValueError: A size is below 1, `dropout` is outside [0, 1), `num_heads` does not divide the
            token width, or there are age buckets without ages.

    Example:
        >>> layer = keras_infnet.layers.HSTULayer(num_heads=2)
        >>> tuple(layer(keras.ops.ones((2, 5, 8))).shape)
        (2, 5, 8)

    Reference:
        Zhai et al., Actions Speak Louder than Words, ICML 2024, arXiv:2402.17152. LN, biases and
        their shared heads are those of the authors' code, where `N` is the padded length. Times
        from buckets, and an interval from event to event (in their code to the event after), are
        our choice.
    """

    def __init__(
        self,
        num_heads: int = 1,
        max_distance: int = 128,
        num_age_buckets: int = 0,
        last_only: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(num_heads, max_distance, num_age_buckets + 1) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "Sizes must be 1 or more (`num_age_buckets` may be 0), and `dropout` in [0, 1). "
                f"Received: {num_heads=}, {max_distance=}, {num_age_buckets=}, {dropout=}"
            )
        self.supports_masking = True
        self.num_heads = num_heads
        self.max_distance = max_distance
        self.num_age_buckets = num_age_buckets
        self.last_only = last_only
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, tokens_shape: tuple, ages_shape: tuple | None = None) -> None:
        dim = tokens_shape[-1]
        if dim % self.num_heads:
            raise ValueError(
                f"Layer `{self.name}`: num_heads={self.num_heads} does not divide the token "
                f"width {dim}."
            )
        if self.num_age_buckets and ages_shape is None:
            raise ValueError(
                f"Layer `{self.name}`: num_age_buckets={self.num_age_buckets}, but there are no "
                "`ages`. Pass them, or set num_age_buckets=0."
            )
        plain = {"epsilon": 1e-6, "center": False, "scale": False}
        self.token_norm = self._norm("token_norm", dim, **plain)
        self.attended_norm = self._norm("norm", dim, **plain)
        halves = {"activation": "silu", "use_bias": False}
        self.gate_query = self._dense("gate_query", dim, 2 * dim, **halves)
        self.value_key = self._dense("value_key", dim, 2 * dim, **halves)
        self.output_projection = self._dense("output", dim, dim)
        self.distances = self._scalars("distances", self.max_distance)
        if self.num_age_buckets:
            self.intervals = self._scalars("intervals", self.num_age_buckets)

    def call(
        self,
        tokens: Any,
        ages: Any = None,
        tokens_mask: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        tokens_mask = mask if tokens_mask is None else tokens_mask
        normed = self.token_norm(tokens)
        value, key = ops.split(self.value_key(normed), 2, axis=-1)
        gate, query = ops.split(self.gate_query(self._queries(normed)), 2, axis=-1)
        scores = ops.matmul(self._heads(query), ops.swapaxes(self._heads(key), 2, 3))
        positions = event_positions(tokens)
        queries = positions[-1:] if self.last_only else positions
        distances = queries[:, None] - positions[None]
        weights = ops.silu(ops.cast(scores, "float32") + self._bias(distances, ages))
        weights = weights * _averaged(distances, tokens_mask)
        attended = ops.matmul(ops.cast(weights, value.dtype), self._heads(value))
        shape = (-1, 1 if self.last_only else ops.shape(tokens)[1], tokens.shape[2])
        attended = ops.reshape(ops.swapaxes(attended, 1, 2), shape)
        gated = self.dropout_layer(self.attended_norm(attended) * gate, training=training)
        output = self._queries(tokens) + self.output_projection(gated)
        if tokens_mask is None:
            return output
        valid = ops.expand_dims(self._queries(tokens_mask), -1)
        return output * ops.cast(valid, output.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None if self.last_only else previous_mask

    def compute_output_shape(self, tokens_shape: tuple, ages_shape: tuple | None = None) -> tuple:
        return (tokens_shape[0], 1 if self.last_only else tokens_shape[1], tokens_shape[2])

    def _queries(self, x: Any) -> Any:
        """Of `(batch, length, ...)`, the positions that are computed."""
        return ops.expand_dims(x[:, -1], 1) if self.last_only else x

    def _bias(self, distances: Any, ages: Any) -> Any:
        """`p + r`, `(batch or 1, 1, queries, length)`."""
        distances = ops.clip(distances, 0, self.max_distance - 1)
        bias = embedding_lookup(self.distances, distances)[None, None, :, :, 0]
        if not self.num_age_buckets:
            return bias
        pairs = interval_buckets(self.num_age_buckets)
        scalars = embedding_lookup(self.intervals, pairs)[:, :, 0]
        # Products with one-hot ages: a gather of `length^2` scalars has a slow gradient.
        ages = ops.one_hot(ages, self.num_age_buckets, dtype="float32")
        of_queries = ops.matmul(self._queries(ages), scalars)
        return bias + ops.expand_dims(ops.matmul(of_queries, ops.swapaxes(ages, 1, 2)), 1)

    def _heads(self, x: Any) -> Any:
        """`(batch, length, dim)` as `(batch, heads, length, dim / heads)`."""
        shape = (-1, ops.shape(x)[1], self.num_heads, x.shape[2] // self.num_heads)
        return ops.swapaxes(ops.reshape(x, shape), 1, 2)

    def _scalars(self, name: str, number: int) -> Any:
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        return self.add_weight((number, 1), initializer, name=name, autocast=False)


def _averaged(distances: Any, tokens_mask: Any) -> Any:
    """`1 / N` where a query reads a token, 0 elsewhere."""
    causal = ops.cast(distances >= 0, "float32")[None, None]
    if tokens_mask is None:
        return causal / ops.cast(ops.shape(causal)[-1], "float32")
    valid = ops.cast(tokens_mask, "float32")
    valid = valid / ops.maximum(ops.sum(valid, axis=-1, keepdims=True), 1.0)
    return causal * valid[:, None, None]


def interval_buckets(num_age_buckets: int) -> np.ndarray:
    """Bucket of the time between two events, by the buckets of their ages.

    Args:
        num_age_buckets: Number of buckets of ages, of which 0 is unknown.

    Returns:
        int32 array `(num_age_buckets, num_age_buckets)`; 0 where an age is unknown.
    """
    seconds = 2.0 ** (np.arange(num_age_buckets) - 1) - 1
    between = np.abs(seconds[:, None] - seconds[None])
    buckets = 1 + np.floor(np.log2(between + 1)).astype("int32")
    buckets[0] = buckets[:, 0] = 0
    return buckets
