"""Expert group: several MLPs of one shape on the same input."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet._backend.split_rows import product
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class ExpertGroup(ConfiguredLayer):
    """`K` experts on one input, in one product a layer.

    `f_k(x) = h_{k,n}` with `h_{k,0} = x` and `h_{k,j+1} = relu(h_{k,j} W_{k,j} + b_{k,j})` for the
    layers `j = 0..n-1`. The first kernels lie side by side, `(width, K * hidden_dims[0])`; those of
    layer `j > 0` one above the other, `(K, hidden_dims[j-1], hidden_dims[j])`.

    Args:
        num_experts: Number of experts `K`.
        hidden_dims: Widths of an expert's layers. Defaults to `(128,)`.
        dropout: Rate after each layer. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, width)`.

    Returns:
        Float tensor `(batch, experts, hidden_dims[-1])`.

    Raises:
        ValueError: A size is below 1, `hidden_dims` is empty, or `dropout` is outside [0, 1).

    Example:
        >>> experts = keras_infnet.layers.ExpertGroup(num_experts=4, hidden_dims=(16, 8))
        >>> tuple(experts(keras.ops.ones((2, 32))).shape)
        (2, 4, 8)

    Reference:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018. Kernels start as Glorot's of each expert alone.
    """

    def __init__(
        self,
        num_experts: int,
        hidden_dims: Sequence[int] = (128,),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        hidden_dims = tuple(hidden_dims)
        if not hidden_dims or min(num_experts, *hidden_dims) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "`num_experts` and each of `hidden_dims`, at least one, must be 1 or more, and "
                f"`dropout` in [0, 1). Received: {num_experts=}, {hidden_dims=}, {dropout=}"
            )
        self.num_experts = num_experts
        self.hidden_dims = hidden_dims
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, inputs_shape: tuple) -> None:
        number, (first, *others) = self.num_experts, self.hidden_dims
        width = inputs_shape[-1]
        kernel = self._glorot("kernel_0", (width, number * first), first)
        self.kernels = [kernel]
        self.biases = [self.add_weight((number * first,), "zeros", name="bias_0")]
        for j, (rows, columns) in enumerate(zip(self.hidden_dims, others, strict=False), start=1):
            self.kernels.append(self._glorot(f"kernel_{j}", (number, rows, columns)))
            self.biases.append(self.add_weight((number, 1, columns), "zeros", name=f"bias_{j}"))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        hidden = self._layer(0, inputs, training)
        hidden = ops.reshape(hidden, (-1, self.num_experts, self.hidden_dims[0]))
        if len(self.hidden_dims) == 1:
            return hidden
        hidden = ops.swapaxes(hidden, 0, 1)
        for j in range(1, len(self.hidden_dims)):
            hidden = self._layer(j, hidden, training)
        return ops.swapaxes(hidden, 0, 1)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return (inputs_shape[0], self.num_experts, self.hidden_dims[-1])

    def _layer(self, j: int, inputs: Any, training: bool | None) -> Any:
        hidden = ops.relu(product(inputs, self.kernels[j]) + self.biases[j])
        return self.dropout_layer(hidden, training=training)
