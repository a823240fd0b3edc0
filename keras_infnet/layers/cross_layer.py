"""The cross layer of DCN-V2."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.split_rows import dense
from keras_infnet.layers.configured_layer import ConfiguredLayer

# Of float16, whose largest is 65,504: sums of a thousand such numbers are finite, and squares.
_LARGEST = 64.0


@keras.saving.register_keras_serializable(package="keras_infnet")
class CrossLayer(ConfiguredLayer):
    """`x_{l+1} = x_0 * (W x_l + b) + x_l`, products element by element.

    `W` is `(width, width)`, or of low rank: `W = U V^T` with `U` and `V` `(width, projection_dim)`.
    In float16 products and outputs stay within +-64: each layer multiplies them, and infinity is
    near.

    Args:
        projection_dim: Rank of `W`. Defaults to `None`: full.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x0: Float tensor `(batch, width)`, the input of the first layer, `x_0`.
        x: Float tensor `(batch, width)`, the output of the layer before, `x_l`; in the first `x0`.

    Returns:
        Float tensor `(batch, width)`.

    Raises:
        ValueError: `projection_dim` is below 1, or `x0` and `x` differ in width.

    Example:
        >>> x0 = keras.ops.ones((2, 8))
        >>> layer = keras_infnet.layers.CrossLayer(projection_dim=3)
        >>> tuple(layer(x0, x0).shape)
        (2, 8)

    Reference:
        Wang et al., DCN V2, WWW 2021, arXiv:2008.13535, equations 1 and 2. Weights start as
        Glorot and zeros, our choice.
    """

    def __init__(self, projection_dim: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if projection_dim is not None and projection_dim < 1:
            raise ValueError(
                "`projection_dim` must be 1 or more, or None for a full matrix. "
                f"Received: {projection_dim=}"
            )
        self.projection_dim = projection_dim

    def build(self, x0_shape: tuple, x_shape: tuple) -> None:
        width = common_width(self, x0_shape, x_shape)
        self.down_projection = None
        if self.projection_dim is not None:
            self.down_projection = self._dense(
                "down_projection", width, self.projection_dim, use_bias=False
            )
        self.projection = self._dense("projection", self.projection_dim or width, width)

    def call(self, x0: Any, x: Any) -> Any:
        down = x
        if self.down_projection is not None:
            down = within_float16(dense(self.down_projection, x))
        return within_float16(x0 * within_float16(dense(self.projection, down)) + x)

    def compute_output_shape(self, x0_shape: tuple, x_shape: tuple) -> tuple:
        return x0_shape


def within_float16(x: Any) -> Any:
    """`x`, in float16 within +-64: products of that and of the layers after are finite."""
    if keras.backend.standardize_dtype(x.dtype) != "float16":
        return x
    return ops.clip(x, -_LARGEST, _LARGEST)


def common_width(layer: keras.layers.Layer, x0_shape: tuple, x_shape: tuple) -> int:
    """The width of both inputs of a cross layer; a ValueError if they differ."""
    width = x0_shape[-1]
    if x_shape[-1] != width:
        raise ValueError(
            f"Layer `{layer.name}`: `x0` is {width} wide, `x` {x_shape[-1]}; expected equal "
            "widths. `x` is the output of the layer before, or `x0` in the first."
        )
    return width
