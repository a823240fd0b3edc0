"""The mean of several networks' outputs, which are kept apart in training."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_infnet")
class MemberMean(keras.layers.Layer):
    """`y = mean_m y_m` at inference; in training `y_m`, so that each has a loss of its own.

    The loss of a mean lets members lean on each other; the mean of their losses trains each as if
    it were alone, and averages errors that differ. `RankingModel` computes loss and metrics so.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, members)`.
        training: Whether the members stay apart.

    Returns:
        Float tensor `(batch, 1)`, or in training the inputs.

    Example:
        >>> mean = keras_infnet.layers.MemberMean()
        >>> outputs = keras.ops.array([[0.25, 0.75], [0.5, 1.0]])
        >>> keras.ops.convert_to_numpy(mean(outputs)).tolist()
        [[0.5], [0.75]]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return inputs if training else ops.mean(inputs, axis=-1, keepdims=True)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], 1), dtype=self.compute_dtype)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return (inputs_shape[0], 1)
