"""Expert gate: which experts an example listens to, and by how much."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.split_rows import dense
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class ExpertGate(ConfiguredLayer):
    """A mixture of experts by softmax shares.

    `y = sum_k g_k(x) f_k` with `g(x) = softmax(MLP(x) W + b)`; MLP is the identity without
    `hidden_dims`, and `b` is there with `use_bias` alone. The softmax is in float32.

    Args:
        expert_names: A name for each expert, in their order: what shares are called when they are
            read.
        hidden_dims: Widths of the relu layers of MLP. Defaults to `()`.
        use_bias: Whether there is `b`. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, width)`, what the gate decides by.
        experts: Float tensor `(batch, experts, dim)`, the experts' outputs.

    Returns:
        The mixture `y (batch, dim)`, and the shares `g (batch, experts)`, of which each row sums
        to 1.

    Raises:
        ValueError: There are fewer than 2 experts, a name occurs twice, a width is below 1, or the
            number of `experts` is not that of the names.

    Example:
        >>> gate = keras_infnet.layers.ExpertGate(["shared_0", "click_0", "click_1"])
        >>> mixture, shares = gate(keras.ops.ones((2, 32)), keras.ops.ones((2, 3, 8)))
        >>> tuple(mixture.shape), tuple(shares.shape)
        ((2, 8), (2, 3))

    Reference:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018: one product without bias.
    """

    def __init__(
        self,
        expert_names: Sequence[str],
        hidden_dims: Sequence[int] = (),
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        expert_names, hidden_dims = tuple(expert_names), tuple(hidden_dims)
        if len(expert_names) < 2 or len(set(expert_names)) < len(expert_names):
            raise ValueError(
                f"Layer `{self.name}`: a gate needs 2 or more experts, each with a name of its "
                f"own. Received: {expert_names=}"
            )
        if min(hidden_dims, default=1) < 1:
            raise ValueError(
                f"Layer `{self.name}`: `hidden_dims` must be 1 or more. Received: {hidden_dims}"
            )
        self.expert_names = expert_names
        self.hidden_dims = hidden_dims
        self.use_bias = use_bias

    def build(self, inputs_shape: tuple, experts_shape: tuple) -> None:
        if experts_shape[1] != len(self.expert_names):
            raise ValueError(
                f"Layer `{self.name}`: {experts_shape[1]} experts; expected "
                f"{len(self.expert_names)}, one for each of {list(self.expert_names)}."
            )
        self.mlp, width = [], inputs_shape[-1]
        for i, out_dim in enumerate(self.hidden_dims):
            self.mlp.append(self._dense(f"hidden_{i}", width, out_dim, activation="relu"))
            width = out_dim
        number = len(self.expert_names)
        self.mlp.append(self._dense("logits", width, number, use_bias=self.use_bias))

    def call(self, inputs: Any, experts: Any) -> tuple[Any, Any]:
        for layer in self.mlp:
            inputs = dense(layer, inputs)
        shares = ops.softmax(ops.cast(inputs, "float32"), axis=-1)
        shares = ops.cast(shares, self.compute_dtype)
        mixture = ops.squeeze(ops.matmul(ops.expand_dims(shares, 1), experts), axis=1)
        return mixture, shares

    def compute_output_shape(self, inputs_shape: tuple, experts_shape: tuple) -> list[tuple]:
        batch, number, dim = experts_shape
        return [(batch, dim), (batch, number)]
