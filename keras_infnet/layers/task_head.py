"""The output of one task."""

import math
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.layers.cheap_dropout import CheapDropout


@keras.saving.register_keras_serializable(package="keras_infnet")
class TaskHead(keras.layers.Layer):
    """`y = sigmoid(w relu(W x + b) + c)`, without the sigmoid for regression; always float32.

    `c` starts at the log odds of the base rate (regression: at the mean), so that training does not
    begin with learning how rare a label is.

    Args:
        hidden_dim: Width of the hidden layer. Defaults to `64`.
        kind: `"binary"` (a probability) or `"regression"`. Defaults to `"binary"`.
        base_rate: Mean label of the training rows. Defaults to `None`: `c` starts at 0.
        dropout: Rate, on the inputs and on the hidden layer. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, width)`.

    Returns:
        Float32 tensor `(batch, 1)`.

    Raises:
        ValueError: `hidden_dim` is below 1, `kind` is unknown, or a binary base rate is outside [0,
            1].

    Example:
        >>> head = keras_infnet.layers.TaskHead(base_rate=0.017)
        >>> tuple(head(keras.ops.ones((2, 32))).shape)
        (2, 1)

    Reference:
        Li et al., INFNet, arXiv:2508.11565, prediction. Sizes and the start of `c` are our choice.
    """

    def __init__(
        self,
        hidden_dim: int = 64,
        kind: Literal["binary", "regression"] = "binary",
        base_rate: float | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if hidden_dim < 1 or kind not in ("binary", "regression"):
            raise ValueError(
                '`hidden_dim` must be 1 or more, and `kind` "binary" or "regression". '
                f"Received: {hidden_dim=}, {kind=}"
            )
        if kind == "binary" and base_rate is not None and not 0 <= base_rate <= 1:
            raise ValueError(f"`base_rate` must be a probability. Received: {base_rate=}")
        self.hidden_dim = hidden_dim
        self.kind = kind
        self.base_rate = base_rate
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)
        self.hidden = keras.layers.Dense(
            hidden_dim, activation="relu", dtype=self.dtype_policy, name="hidden"
        )
        self.output_layer = keras.layers.Dense(
            1,
            activation="sigmoid" if kind == "binary" else None,
            bias_initializer=keras.initializers.Constant(_first_bias(kind, base_rate)),
            dtype="float32",
            name="output",
        )

    def build(self, inputs_shape: tuple) -> None:
        self.hidden.build(inputs_shape)
        self.output_layer.build((*inputs_shape[:-1], self.hidden_dim))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        hidden = self.hidden(self.dropout_layer(inputs, training=training))
        hidden = self.dropout_layer(hidden, training=training)
        return self.output_layer(ops.cast(hidden, "float32"))

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor((*inputs.shape[:-1], 1), dtype="float32")

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return (*inputs_shape[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "kind": self.kind,
            "base_rate": self.base_rate,
            "dropout": self.dropout,
        }


def _first_bias(kind: str, base_rate: float | None) -> float:
    if base_rate is None or kind == "regression":
        return base_rate or 0.0
    rate = min(max(base_rate, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate))
