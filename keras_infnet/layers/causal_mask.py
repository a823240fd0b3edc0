"""Causal mask: which keys each of the newest tokens may read."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer, event_positions


@keras.saving.register_keras_serializable(package="keras_infnet")
class CausalMask(ConfiguredLayer):
    """True where a key is no newer than its query: the triangle, and windows of it.

    Places count from the newest token, which has 0 and stands last, so that padding on the left
    moves nothing and queries may be the newest tokens alone: `A[i, j] = (p_i // group <= p_j) and
    (p_j - p_i < window) and valid_j`.

    Args:
        window: Number of places that a query reads, its own among them. Defaults to `None`: all.
        group: Number of neighbours that one key stands for, those of places `group j` and on.
            Defaults to `1`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        queries: Float tensor `(batch, queries, ...)`, oldest first; only its length is used.
        keys: Float tensor `(batch, keys, ...)`, oldest first; only its length is used.
        keys_mask: Bool tensor `(batch, keys)`, True where valid; Keras fills it from `keys`.
            Defaults to `None`: all keys are valid.

    Returns:
        Bool tensor `(batch, queries, keys)`, or `(1, queries, keys)` without `keys_mask`.

    Raises:
        ValueError: A size is below 1, or there is a window over groups.

    Example:
        >>> tokens = keras.ops.ones((2, 3, 8))
        >>> mask = keras_infnet.layers.CausalMask(window=2)(tokens, tokens)
        >>> keras.ops.convert_to_numpy(keras.ops.cast(mask[0], "int32")).tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """

    def __init__(self, window: int | None = None, group: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(1 if window is None else window, group) < 1 or (window is not None and group > 1):
            raise ValueError(
                "`window` and `group` must be 1 or more, and groups have no window. Received: "
                f"{window=}, {group=}"
            )
        self.window = window
        self.group = group

    def call(self, queries: Any, keys: Any, keys_mask: Any = None) -> Any:
        of_queries = event_positions(queries)[::-1, None] // self.group
        of_keys = event_positions(keys)[::-1][None]
        allowed = of_queries <= of_keys
        if self.window is not None:
            allowed = ops.logical_and(allowed, of_keys - of_queries < self.window)
        allowed = ops.expand_dims(ops.convert_to_tensor(allowed), 0)
        if keys_mask is None:
            return allowed
        return ops.logical_and(allowed, ops.expand_dims(ops.cast(keys_mask, "bool"), 1))

    def compute_output_spec(
        self, queries: Any, keys: Any, keys_mask: Any = None
    ) -> keras.KerasTensor:
        mask_shape = None if keys_mask is None else keys_mask.shape
        shape = self.compute_output_shape(queries.shape, keys.shape, mask_shape)
        return keras.KerasTensor(shape, dtype="bool")

    def compute_output_shape(
        self, queries_shape: tuple, keys_shape: tuple, keys_mask_shape: tuple | None = None
    ) -> tuple:
        batch = 1 if keys_mask_shape is None else keys_shape[0]
        return (batch, queries_shape[1], keys_shape[1])
