"""Task tokens: the learnable vectors that stand for tasks in the token set."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer, table_initializer


@keras.saving.register_keras_serializable(package="keras_infnet")
class TaskTokenEmbedding(ConfiguredLayer):
    """Learnable task tokens, the same for every example of a batch.

    `T = W`, repeated over the batch: one row of `W` for each real task, or for each shared
    task token `T~`. No token is padding, so the output has no mask.

    Args:
        num_tokens: Number of tokens: the real tasks, or the shared tokens (2 in version 1).
        dim: Token width, equal to that of the field embeddings.
        embeddings_initializer: Initializer of `W`. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Any tensor `(batch, ...)`; only its batch size is used.

    Returns:
        Float tensor `(batch, num_tokens, dim)`.

    Raises:
        ValueError: `num_tokens` or `dim` is below 1.

    Example:
        >>> tokens = keras_infnet.layers.TaskTokenEmbedding(num_tokens=3, dim=8)
        >>> tuple(tokens(keras.ops.ones((2, 5))).shape)
        (2, 3, 8)

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, task tokens. The initializer is our choice.
    """

    has_equal_rows = True

    def __init__(
        self, num_tokens: int, dim: int, embeddings_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if min(num_tokens, dim) < 1:
            raise ValueError(
                f"`num_tokens` and `dim` must be 1 or more. Received: {num_tokens=}, {dim=}"
            )
        self.num_tokens = num_tokens
        self.dim = dim
        self.embeddings_initializer = table_initializer(embeddings_initializer)

    def build(self, input_shape: tuple) -> None:
        shape = (self.num_tokens, self.dim)
        self.embeddings = self.add_weight(shape, self.embeddings_initializer, name="embeddings")

    def call(self, inputs: Any) -> Any:
        # Ids may be embedded too: integer inputs carry no compute dtype of their own.
        tokens = ops.cast(self.embeddings, self.compute_dtype)
        return ops.broadcast_to(tokens, (ops.shape(inputs)[0], self.num_tokens, self.dim))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.num_tokens, self.dim)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None
