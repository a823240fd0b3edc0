"""The gated cross layer of GDCN."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.split_rows import dense
from keras_infnet.layers.configured_layer import ConfiguredLayer
from keras_infnet.layers.cross_layer import common_width, within_float16


@keras.saving.register_keras_serializable(package="keras_infnet")
class GatedCrossLayer(ConfiguredLayer):
    """`c_{l+1} = c_0 * (W_c c_l + b) * sigmoid(W_g c_l) + c_l`, products element by element.

    The gate says, for each element, how much of its cross goes on to the next layer. `W_c` and
    `W_g` are `(width, width)`. In float16 products and outputs stay within +-64, as those of
    `CrossLayer`.

    Args:
        bias_initializer: Initializer of `b`. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x0: Float tensor `(batch, width)`, the input of the first layer, `c_0`.
        x: Float tensor `(batch, width)`, the output of the layer before, `c_l`; in the first `x0`.

    Returns:
        Float tensor `(batch, width)`.

    Raises:
        ValueError: `x0` and `x` differ in width.

    Example:
        >>> x0 = keras.ops.ones((2, 8))
        >>> tuple(keras_infnet.layers.GatedCrossLayer()(x0, x0).shape)
        (2, 8)

    Reference:
        Wang et al., Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction,
        CIKM 2023, gated cross layer.
    """

    def __init__(self, bias_initializer: Any = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, x0_shape: tuple, x_shape: tuple) -> None:
        width = common_width(self, x0_shape, x_shape)
        self.projection = self._dense(
            "projection", width, width, bias_initializer=self.bias_initializer
        )
        self.gate = self._dense("gate", width, width, activation="sigmoid", use_bias=False)

    def call(self, x0: Any, x: Any) -> Any:
        crossed = x0 * within_float16(dense(self.projection, x)) * dense(self.gate, x)
        return within_float16(crossed + x)

    def gate_vector(self, x: Any) -> Any:
        """The gate of the built layer, to see which crosses it lets through.

        Args:
            x: Float tensor `(batch, width)`, as in the call.

        Returns:
            Float tensor `(batch, width)` between 0 and 1.
        """
        return self.gate(ops.convert_to_tensor(x, self.compute_dtype))

    def compute_output_shape(self, x0_shape: tuple, x_shape: tuple) -> tuple:
        return x0_shape
