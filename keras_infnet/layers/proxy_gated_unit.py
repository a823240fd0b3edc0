"""Proxy gated unit, the homogeneous flow: proxies gate the tokens that they stand for."""

from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class ProxyGatedUnit(ConfiguredLayer):
    """Gates tokens `X` by their proxies `X~`, all tokens of an example alike.

    - `"sigmoid"` (version 1): `X * sigmoid(MLP(flatten(X~)))`;
    - `"affine"` (version 2): `LayerNorm(X + X * sigmoid(alpha) + beta)` with
      `[alpha; beta] = MLP(flatten(X~))`;
    - `"interpolate"`: `g * h + (1 - g) * x` for each token `x`, with `p = MLP(flatten(X~))`,
      `g = sigmoid(W_g [x; p] + b_g)` and `h = relu(W_h [x; p] + b_h)`.

    MLP is one Dense, or Dense(hidden_dim, relu) before it. The gate is `(batch, 1, dim)`.

    Args:
        dim: Token width.
        gate: `"sigmoid"`, `"affine"` or `"interpolate"`. Defaults to `"sigmoid"`.
        hidden_dim: Width of the MLP's hidden layer: `dim` in version 1, `4 * dim` in version 2 (our
            choices). Defaults to `None`: no hidden layer.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, length, dim)`. Tokens or proxies may have a batch of 1, which
            stands for all rows.
        proxies: Float tensor `(batch, proxies, width)`.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Padded tokens come out as zeros. Defaults to `None`: all tokens are valid.

    Returns:
        Float tensor `(batch, length, dim)`.

    Raises:
        ValueError: A size is below 1, `gate` is unknown, or tokens are not `dim` wide.

    Example:
        >>> unit = keras_infnet.layers.ProxyGatedUnit(dim=8)
        >>> tuple(unit(keras.ops.ones((2, 5, 8)), keras.ops.ones((2, 3, 8))).shape)
        (2, 5, 8)

    Reference:
        Li et al., INFNet, arXiv:2508.11565, proxy gated unit. `"interpolate"` is not in the paper.
    """

    takes_shared_rows = True

    def __init__(
        self,
        dim: int,
        gate: Literal["sigmoid", "affine", "interpolate"] = "sigmoid",
        hidden_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(dim, hidden_dim or 1) < 1 or gate not in ("sigmoid", "affine", "interpolate"):
            raise ValueError(
                '`dim` and `hidden_dim` must be 1 or more, and `gate` "sigmoid", "affine" or '
                f'"interpolate". Received: {dim=}, {hidden_dim=}, {gate=}'
            )
        self.supports_masking = True
        self.dim = dim
        self.gate = gate
        self.hidden_dim = hidden_dim

    def build(self, tokens_shape: tuple, proxies_shape: tuple) -> None:
        if tokens_shape[-1] != self.dim:
            raise ValueError(
                f"Layer `{self.name}`: tokens of width {tokens_shape[-1]}; expected dim={self.dim}."
            )
        width = proxies_shape[1] * proxies_shape[2]
        self.mlp = []
        if self.hidden_dim:
            self.mlp.append(self._dense("hidden", width, self.hidden_dim, activation="relu"))
        out_dim = 2 * self.dim if self.gate == "affine" else self.dim
        self.mlp.append(self._dense("control", self.hidden_dim or width, out_dim))
        if self.gate == "affine":
            self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name="norm")
            self.norm.build((None, None, self.dim))
        if self.gate == "interpolate":
            self.token_projection = self._dense("tokens", self.dim, 2 * self.dim, use_bias=False)
            self.proxy_projection = self._dense("proxies", self.dim, 2 * self.dim)

    def call(self, tokens: Any, proxies: Any, tokens_mask: Any = None) -> Any:
        if self.gate == "sigmoid":
            output = tokens * self.gate_vector(proxies)
        elif self.gate == "affine":
            alpha, beta = ops.split(self._control(proxies), 2, axis=-1)
            output = self.norm(tokens + tokens * ops.sigmoid(alpha) + beta)
        else:
            gate, update = self._interpolation(tokens, proxies)
            output = gate * ops.relu(update) + (1 - gate) * tokens
        if tokens_mask is None:
            return output
        return output * ops.cast(ops.expand_dims(tokens_mask, -1), output.dtype)

    def gate_vector(self, proxies: Any) -> Any:
        """The gate `(batch, 1, dim)` of the built layer, for whoever never writes gated tokens.

        Args:
            proxies: Float tensor `(batch, proxies, width)`.

        Returns:
            Float tensor `(batch, 1, dim)` between 0 and 1.

        Raises:
            ValueError: The gate is not `"sigmoid"`: only there tokens are multiplied by a vector.
        """
        if self.gate != "sigmoid":
            raise ValueError(
                f'Layer `{self.name}`: gate="{self.gate}" is not a vector; expected gate="sigmoid".'
            )
        return ops.sigmoid(self._control(proxies))

    def channel_gates(self, tokens: Any, proxies: Any) -> Any:
        """What the built layer multiplies each channel of the tokens by.

        `sigmoid(MLP)`; with `"affine"` `1 + sigmoid(alpha)`, before `beta` and the LayerNorm; with
        `"interpolate"` `1 - g`, the share of a token that stays.

        Args:
            tokens: Float tensor `(batch, length, dim)`.
            proxies: Float tensor `(batch, proxies, width)`.

        Returns:
            Float tensor `(batch, 1, dim)`; with `"interpolate"` `(batch, length, dim)`.
        """
        if self.gate == "sigmoid":
            return self.gate_vector(proxies)
        if self.gate == "affine":
            alpha, _ = ops.split(self._control(proxies), 2, axis=-1)
            return 1 + ops.sigmoid(alpha)
        gate, _ = self._interpolation(tokens, proxies)
        return 1 - gate

    def compute_output_shape(self, tokens_shape: tuple, proxies_shape: tuple) -> tuple:
        return tokens_shape

    def _interpolation(self, tokens: Any, proxies: Any) -> tuple[Any, Any]:
        """`g`, and `h` before its relu."""
        control = self.proxy_projection(self._control(proxies))
        gate, update = ops.split(self.token_projection(tokens) + control, 2, axis=-1)
        return ops.sigmoid(gate), update

    def _control(self, proxies: Any) -> Any:
        """`MLP(flatten(X~))` as `(batch, 1, width)`."""
        control = ops.reshape(proxies, (-1, 1, proxies.shape[1] * proxies.shape[2]))
        for dense in self.mlp:
            control = dense(control)
        return control
