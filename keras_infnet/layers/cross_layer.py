"""The cross layer of DCN-V2."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_infnet")
class CrossLayer(keras.layers.Layer):
    """`x_{l+1} = x_0 * (W x_l + b) + x_l`, products element by element.

    `W` is `(width, width)`, or of low rank: `W = U V^T` with `U` and `V` `(width, projection_dim)`.

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
        width = x0_shape[-1]
        if x_shape[-1] != width:
            raise ValueError(
                f"Layer `{self.name}`: `x0` is {width} wide, `x` {x_shape[-1]}; expected equal "
                "widths. `x` is the output of the layer before, or `x0` in the first."
            )
        self.down_projection = None
        if self.projection_dim is not None:
            self.down_projection = keras.layers.Dense(
                self.projection_dim,
                use_bias=False,
                dtype=self.dtype_policy,
                name="down_projection",
            )
            self.down_projection.build((None, width))
        self.projection = keras.layers.Dense(width, dtype=self.dtype_policy, name="projection")
        self.projection.build((None, self.projection_dim or width))

    def call(self, x0: Any, x: Any) -> Any:
        projected = x if self.down_projection is None else self.down_projection(x)
        return x0 * self.projection(projected) + x

    def compute_output_shape(self, x0_shape: tuple, x_shape: tuple) -> tuple:
        return x0_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "projection_dim": self.projection_dim}
