"""Token mixing: each token gets a part of every token, without weights."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class TokenMixing(ConfiguredLayer):
    """`Mix(X)`: a token is cut into as many parts as there are tokens, and parts trade places.

    Of `T` tokens of width `d`, `X_t = [x_t1; ..; x_tT]` with parts of width `d / T`, and
    `Mix(X)_h = [x_1h; ..; x_Th]`: a permutation of the numbers, and its own inverse. All tokens are
    valid: there is no mask.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, tokens, dim)`; the number of tokens divides `dim`.

    Returns:
        Float tensor `(batch, tokens, dim)`.

    Raises:
        ValueError: The number of tokens is not known, or does not divide `dim`.

    Example:
        >>> mixing = keras_infnet.layers.TokenMixing()
        >>> tokens = keras.ops.reshape(keras.ops.arange(8), (1, 2, 4))
        >>> keras.ops.convert_to_numpy(mixing(tokens)).astype(int).tolist()
        [[[0, 1, 4, 5], [2, 3, 6, 7]]]

    Reference:
        Zhu et al., RankMixer: Scaling Up Ranking Models in Industrial Recommenders, CIKM 2025,
        arXiv:2507.15551, with as many heads as tokens.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, tokens_shape: tuple) -> None:
        number, dim = tokens_shape[1:]
        if number is None or dim % number:
            raise ValueError(
                f"Layer `{self.name}`: {number} tokens of width {dim}; expected a number of tokens "
                "that divides their width."
            )

    def call(self, tokens: Any) -> Any:
        number, dim = tokens.shape[1:]
        parts = ops.reshape(tokens, (-1, number, number, dim // number))
        return ops.reshape(ops.swapaxes(parts, 1, 2), (-1, number, dim))

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return tokens_shape
