"""Feature tokens: features of any widths as a fixed number of tokens of one width."""

from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer, joined
from keras_infnet.layers.grouped_pooling import matmul_per_group


@keras.saving.register_keras_serializable(package="keras_infnet")
class FeatureTokens(ConfiguredLayer):
    """`N` tokens of features: `X_t = silu(g_t * LN(W_t x_t + b_t) + h_t)`, all weights a token's.

    What token `t` reads, `x_t`, of features `f_0, f_1, ...`:

    - `"auto"`: all features, `x_t = [f_0; f_1; ...]`;
    - `"group"`: neighbours, cut evenly between features: of `F` features those from `floor(t F /
      N)` on, at least one; with `F = N` token `t` is feature `t`. With fewer features than tokens
      several tokens read the same one;
    - `"chunk"`: `[f_0; f_1; ...]`, padded with zeros and cut into `N` equal pieces, wherever the
      cuts fall.

    `LN` goes over a token's elements. `b` starts as an embedding does, so that a token of zeros
    alone, such as a user without events, is none. There is no mask.

    Args:
        num_tokens: Number of tokens `N`.
        dim: Token width.
        mode: `"auto"`, `"group"` or `"chunk"`. Defaults to `"auto"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        features: Float tensor `(batch, width)`, or a list of them, each of a width of its own.

    Returns:
        Float tensor `(batch, num_tokens, dim)`.

    Raises:
        ValueError: A size is below 1, `mode` is unknown, or a piece of `"chunk"` is padding alone.

    Example:
        >>> tokens = keras_infnet.layers.FeatureTokens(num_tokens=4, dim=8, mode="group")
        >>> features = [keras.ops.ones((2, width)) for width in (8, 8, 5, 16, 8)]
        >>> tuple(tokens(features).shape)
        (2, 4, 8)

    Reference:
        Zhu et al., RankMixer: Scaling Up Ranking Models in Industrial Recommenders, CIKM 2025,
        arXiv:2507.15551, for groups; Zhang et al., OneTrans, arXiv:2510.26104, for `"auto"`. Norm
        and SiLU, and chunks, are those of UniRank, arXiv:2607.19987; even cuts, weights of the norm
        of each token's own, and the start of `b` are our choice.
    """

    def __init__(
        self,
        num_tokens: int,
        dim: int,
        mode: Literal["auto", "group", "chunk"] = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(num_tokens, dim) < 1 or mode not in ("auto", "group", "chunk"):
            raise ValueError(
                '`num_tokens` and `dim` must be 1 or more, and `mode` "auto", "group" or "chunk". '
                f"Received: {num_tokens=}, {dim=}, {mode=}"
            )
        self.num_tokens = num_tokens
        self.dim = dim
        self.mode = mode

    def build(self, features_shape: Any) -> None:
        number, dim = self.num_tokens, self.dim
        widths = [shape[-1] for shape in _as_list(features_shape)]
        if self.mode == "group":
            read = [sum(widths[part]) for part in _groups(len(widths), number)]
            shapes = [(width, dim) for width in read]
        elif self.mode == "chunk":
            shapes = [(number, self._piece(sum(widths)), dim)]
        else:
            shapes = [(sum(widths), number * dim)]
        self.kernels = [
            self._glorot(f"kernel_{i}", shape, columns=dim) for i, shape in enumerate(shapes)
        ]
        start = keras.initializers.RandomNormal(stddev=0.01)
        self.bias = self.add_weight((number, dim), start, name="bias")
        self.norm = self._norm("norm", dim, center=False, scale=False)
        self.gain = self.add_weight((number, dim), "ones", name="gain")
        self.shift = self.add_weight((number, dim), "zeros", name="shift")

    def call(self, features: Any) -> Any:
        projected = self._projected(_as_list(features)) + self.bias
        return ops.silu(self.norm(projected) * self.gain + self.shift)

    def compute_output_shape(self, features_shape: Any) -> tuple:
        return (_as_list(features_shape)[0][0], self.num_tokens, self.dim)

    def _projected(self, features: list[Any]) -> Any:
        """`W_t x_t`, `(batch, num_tokens, dim)`."""
        if self.mode == "group":
            parts = _groups(len(features), self.num_tokens)
            pairs = zip([joined(features[p], -1) for p in parts], self.kernels, strict=True)
            return ops.stack([ops.matmul(group, kernel) for group, kernel in pairs], axis=1)
        flat, (kernel,) = joined(features, -1), self.kernels
        if self.mode == "auto":
            return ops.reshape(ops.matmul(flat, kernel), (-1, self.num_tokens, self.dim))
        piece = kernel.shape[1]
        flat = ops.pad(flat, ((0, 0), (0, piece * self.num_tokens - flat.shape[1])))
        return matmul_per_group(ops.reshape(flat, (-1, self.num_tokens, piece)), kernel)

    def _piece(self, width: int) -> int:
        piece = -(-width // self.num_tokens)
        if piece * (self.num_tokens - 1) >= width:
            raise ValueError(
                f"Layer `{self.name}`: {self.num_tokens} pieces of {piece} leave a token none of "
                f"the {width} numbers of the features. Take num_tokens={-(-width // piece)}, or "
                'mode="auto".'
            )
        return piece


def _groups(number: int, tokens: int) -> list[slice]:
    """Which of `number` features each token reads."""
    starts = [t * number // tokens for t in range(tokens)]
    return [slice(a, max(a + 1, b)) for a, b in zip(starts, [*starts[1:], number], strict=True)]


def _as_list(features: Any) -> list[Any]:
    """A list of features, or of shapes, of which one may be given alone."""
    is_list = isinstance(features, list | tuple)
    is_shape = is_list and (features[0] is None or isinstance(features[0], int))
    return list(features) if is_list and not is_shape else [features]
