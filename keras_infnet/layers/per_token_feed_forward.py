"""Per-token feed-forward layer: each token has matrices of its own."""

from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet.layers.configured_layer import ConfiguredLayer

_ACTIVATIONS = ("gelu", "relu", "swiglu")


@keras.saving.register_keras_serializable(package="keras_infnet")
class PerTokenFeedForward(ConfiguredLayer):
    """A feed-forward layer for each token, whose weights no other token shares.

    Of token `t`, with `k = expansion` and `W_1,t (d, k d)`, `W_2,t (k d, d)`:

    - `"gelu"`, `"relu"`: `y_t = W_2,t act(W_1,t x_t + b_1,t) + b_2,t`;
    - `"swiglu"`: `y_t = W_3,t (silu(W_1,t x_t) * (W_2,t x_t))`, without bias; `W_3,t (k d, d)`.

    Norm and residual are the caller's. All tokens are valid: there is no mask.

    Args:
        expansion: Hidden width, in widths of a token. Defaults to `4`.
        activation: `"gelu"`, `"relu"` or `"swiglu"`. Defaults to `"gelu"`.
        dropout: Rate on the output. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, tokens, dim)`; the number of tokens is known.

    Returns:
        Float tensor `(batch, tokens, dim)`.

    Raises:
        ValueError: `expansion` is below 1, `dropout` outside [0, 1), `activation` unknown, or the
            number of tokens is not known.

    Example:
        >>> layer = keras_infnet.layers.PerTokenFeedForward(expansion=2, activation="swiglu")
        >>> tuple(layer(keras.ops.ones((2, 4, 8))).shape)
        (2, 4, 8)

    Reference:
        Zhu et al., RankMixer: Scaling Up Ranking Models in Industrial Recommenders, CIKM 2025,
        arXiv:2507.15551; Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202. Kernels start
        as Glorot's of each token's alone: our choice.
    """

    def __init__(
        self,
        expansion: int = 4,
        activation: Literal["gelu", "relu", "swiglu"] = "gelu",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if expansion < 1 or activation not in _ACTIVATIONS or not 0 <= dropout < 1:
            raise ValueError(
                f"`expansion` must be 1 or more, `activation` one of {_ACTIVATIONS}, and `dropout` "
                f"in [0, 1). Received: {expansion=}, {activation=}, {dropout=}"
            )
        self.expansion = expansion
        self.activation = activation
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, tokens_shape: tuple) -> None:
        number, dim = tokens_shape[1:]
        if number is None:
            raise ValueError(
                f"Layer `{self.name}`: tokens of shape {tuple(tokens_shape)}; expected a known "
                "number of tokens, each of which has weights of its own."
            )
        hidden = self.expansion * dim
        self.gate_kernel, self.biases = None, []
        self.in_kernel = self._glorot("in_kernel", (number, dim, hidden))
        if self.activation == "swiglu":
            self.gate_kernel = self._glorot("gate_kernel", (number, dim, hidden))
        else:
            for name, width in (("in_bias", hidden), ("out_bias", dim)):
                self.biases.append(self.add_weight((number, 1, width), "zeros", name=name))
        self.out_kernel = self._glorot("out_kernel", (number, hidden, dim))

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        # Token by token: products of matrices whose rows are the batch.
        x = ops.swapaxes(tokens, 0, 1)
        hidden = ops.matmul(x, self.in_kernel)
        if self.gate_kernel is not None:
            hidden = ops.matmul(x, self.gate_kernel) * ops.silu(hidden)
            output = ops.matmul(hidden, self.out_kernel)
        else:
            in_bias, out_bias = self.biases
            hidden = self._activated(hidden + in_bias)
            output = ops.matmul(hidden, self.out_kernel) + out_bias
        return self.dropout_layer(ops.swapaxes(output, 0, 1), training=training)

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return tokens_shape

    def _activated(self, hidden: Any) -> Any:
        return ops.relu(hidden) if self.activation == "relu" else ops.gelu(hidden, False)
