"""Task head: the hidden layer and the output of one task."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet._backend.split_rows import dense
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class TaskHead(ConfiguredLayer):
    """`y = activation(w relu(W x + b) + c)`, or `activation(w x + c)`; always float32.

    `c` starts where the caller says, such as at the log odds of the base rate, so that training
    does not begin with learning how rare a label is.

    Args:
        hidden_dim: Width of the hidden layer; `None`: there is none. Defaults to `64`.
        units: Width of the output. Defaults to `1`.
        activation: Of the output, a name that Keras knows; `None`: none; `"exponential"` is
            `exp(min(z, 60))`, so that it is finite. Defaults to `"sigmoid"`.
        bias: Where `c` starts, one number or one for each unit. Defaults to `0.0`.
        dropout: Rate, on the inputs and on the hidden layer. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, width)`.

    Returns:
        Float32 tensor `(batch, units)`.

    Raises:
        ValueError: `hidden_dim` or `units` is below 1, or `bias` is not finite, or not one number
            or `units` of them.

    Example:
        >>> head = keras_infnet.layers.TaskHead(bias=-4.0)
        >>> tuple(head(keras.ops.ones((2, 32))).shape)
        (2, 1)

    Reference:
        Li et al., INFNet, arXiv:2508.11565, prediction. Sizes and the start of `c` are our choice.
    """

    def __init__(
        self,
        hidden_dim: int | None = 64,
        units: int = 1,
        activation: str | None = "sigmoid",
        bias: float | Sequence[float] = 0.0,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1 or (hidden_dim is not None and hidden_dim < 1):
            raise ValueError(
                "`units` must be 1 or more, and so must `hidden_dim`, or None. "
                f"Received: {hidden_dim=}, {units=}"
            )
        if np.shape(bias) not in ((), (units,)) or not np.isfinite(bias).all():
            raise ValueError(
                f"`bias` must be a finite number, or one for each unit. Received: {bias=}, {units=}"
            )
        self.hidden_dim = hidden_dim
        self.units = units
        self.activation = activation
        self.bias: Any = list(bias) if isinstance(bias, Sequence) else bias
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, inputs_shape: tuple) -> None:
        width, self.hidden = inputs_shape[-1], None
        if self.hidden_dim is not None:
            self.hidden = self._dense("hidden", width, self.hidden_dim, activation="relu")
        self.output_layer = self._dense(
            "output",
            self.hidden_dim or width,
            self.units,
            activation=_BOUNDED.get(self.activation, self.activation),
            bias_initializer=keras.initializers.Constant(self.bias),
            dtype="float32",
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        read = self.dropout_layer(inputs, training=training)
        if self.hidden is not None:
            read = self.dropout_layer(dense(self.hidden, read), training=training)
        return dense(self.output_layer, ops.cast(read, "float32"))

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return (*inputs_shape[:-1], self.units)


def _bounded_exponential(x: Any) -> Any:
    """`exp(min(x, 60))`, some 1e26 at most: infinity would be no answer."""
    return ops.exp(ops.minimum(x, 60.0))


_BOUNDED: dict[str | None, Any] = {"exponential": _bounded_exponential}
