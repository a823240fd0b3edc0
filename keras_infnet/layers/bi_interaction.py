"""Bi-interaction: the pairwise products of a factorization machine, as a vector."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.split_rows import total
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class BiInteraction(ConfiguredLayer):
    """`sum_{i<j} v_i * v_j = 1/2 ((sum_i v_i)^2 - sum_i v_i^2)`, products element by element.

    The sum over the vector's elements is the second term of a factorization machine: the inner
    products of all pairs of tokens, at a cost linear in their number. The difference is taken in
    float32 under any dtype policy, since its parts are much larger than it is.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, tokens, dim)`, the vectors `v_i`.
        tokens_mask: Bool tensor `(batch, tokens)`, True where valid; Keras fills it from `tokens`.
            Padded tokens interact with nothing. Defaults to `None`: all tokens are valid.
        mask: The same; Keras fills it where `tokens` are the only tensor. Defaults to `None`.

    Returns:
        Float tensor `(batch, dim)`.

    Example:
        >>> tokens = keras.ops.array([[[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]])
        >>> keras.ops.convert_to_numpy(keras_infnet.layers.BiInteraction()(tokens)).tolist()
        [[3.0, 14.0]]

    Reference:
        Rendle, Factorization Machines, ICDM 2010, lemma 3.1; as a vector: He and Chua, Neural
        Factorization Machines, SIGIR 2017, bi-interaction pooling.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, tokens: Any, tokens_mask: Any = None, mask: Any = None) -> Any:
        tokens_mask = mask if tokens_mask is None else tokens_mask
        tokens = ops.cast(tokens, "float32")
        if tokens_mask is not None:
            tokens = tokens * ops.cast(ops.expand_dims(tokens_mask, -1), "float32")
        squared_sum, sum_of_squares = ops.square(total(tokens)), total(tokens, ops.square)
        return ops.cast(0.5 * (squared_sum - sum_of_squares), self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return (tokens_shape[0], tokens_shape[2])
