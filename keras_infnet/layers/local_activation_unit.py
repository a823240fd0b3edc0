"""Local activation unit, DIN's pooling: each event is weighted by its relation to the candidate."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import masked_softmax
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class LocalActivationUnit(ConfiguredLayer):
    """Sum of past events, weighted by an MLP on each event and the candidate.

    `a_l = MLP([S_l; cand; S_l - cand; S_l * cand])` and `output = sum_l a_l S_l` over the events
    that are not padding. Weights are not normalised, so that a strong interest gives a large
    vector; with `normalize=True` they are `softmax_l(a_l / sqrt(dim))`. The first layer of the MLP
    is `S_l (W_1 + W_3 + cand * W_4) + cand (W_2 - W_3) + b`, where `cand * W_4` scales the rows of
    `W_4`: one matrix for each example, and no tensor of width `4 * dim`.

    Args:
        hidden_dims: Hidden widths of the MLP. Defaults to `(80, 40)`.
        activation: Activation of its hidden layers. Defaults to `"sigmoid"`.
        normalize: Whether weights are a softmax over the events. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, length, dim)`.
        candidate: Float tensor `(batch, dim)`.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Defaults to `None`: all tokens are valid.

    Returns:
        Float tensor `(batch, dim)`; zeros where all tokens are padding.

    Raises:
        ValueError: A width is below 1, there is no hidden layer, or the candidate is not as wide as
            a token.

    Example:
        >>> unit = keras_infnet.layers.LocalActivationUnit(hidden_dims=(16,))
        >>> tuple(unit(keras.ops.ones((2, 5, 8)), keras.ops.ones((2, 8))).shape)
        (2, 8)

    Reference:
        Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018,
        arXiv:1706.06978. Widths and sigmoid are those of the authors' code, which has the softmax
        that the paper leaves out; Dice is not offered.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int] = (80, 40),
        activation: Any = "sigmoid",
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not hidden_dims or min(hidden_dims) < 1:
            raise ValueError(
                f"`hidden_dims` must be one width or more, each 1 or more. Received: {hidden_dims=}"
            )
        self.supports_masking = True
        self.hidden_dims = tuple(hidden_dims)
        self.activation = keras.activations.get(activation)
        self.normalize = normalize

    def build(self, tokens_shape: tuple, candidate_shape: tuple) -> None:
        dim, first = tokens_shape[-1], self.hidden_dims[0]
        if candidate_shape[-1] != dim:
            raise ValueError(
                f"Layer `{self.name}`: a candidate of width {candidate_shape[-1]}; expected {dim}, "
                "the width of the tokens."
            )
        self.kernel = self.add_weight((4 * dim, first), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((first,), "zeros", name="bias")
        self.hidden, width = [], first
        for i, out_dim in enumerate(self.hidden_dims[1:], 1):
            self.hidden.append(
                self._dense(f"hidden_{i}", width, out_dim, activation=self.activation)
            )
            width = out_dim
        self.score = self._dense("score", width, 1)

    def call(self, tokens: Any, candidate: Any, tokens_mask: Any = None) -> Any:
        weights = self.attention_weights(tokens, candidate, tokens_mask)
        weights = ops.expand_dims(ops.cast(weights, self.compute_dtype), 1)
        return ops.squeeze(ops.matmul(weights, tokens), 1)

    def attention_weights(self, tokens: Any, candidate: Any, tokens_mask: Any = None) -> Any:
        """The weight `a_l` of each event, of the built layer.

        Args:
            tokens: Float tensor `(batch, length, dim)`.
            candidate: Float tensor `(batch, dim)`.
            tokens_mask: Bool tensor `(batch, length)`. Defaults to `None`: all tokens are valid.

        Returns:
            Float32 tensor `(batch, length)`; 0 in padding.
        """
        of_event, of_candidate, of_difference, of_product = ops.split(self.kernel, 4, axis=0)
        kernel = of_event + of_difference + ops.expand_dims(candidate, -1) * of_product
        shift = ops.matmul(candidate, of_candidate - of_difference) + self.bias
        hidden = self.activation(ops.matmul(tokens, kernel) + ops.expand_dims(shift, 1))
        for dense in self.hidden:
            hidden = dense(hidden)
        scores = ops.cast(ops.squeeze(self.score(hidden), -1), "float32")
        if tokens_mask is not None:
            tokens_mask = ops.cast(tokens_mask, "bool")
        if self.normalize:
            return masked_softmax(scores * tokens.shape[-1] ** -0.5, tokens_mask)
        return scores if tokens_mask is None else ops.where(tokens_mask, scores, 0.0)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None

    def compute_output_shape(self, tokens_shape: tuple, candidate_shape: tuple) -> tuple:
        return (tokens_shape[0], tokens_shape[-1])
