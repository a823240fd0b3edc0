"""Groups of neighbouring events, counted from the newest."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class EventGroups(ConfiguredLayer):
    """`(batch, length, ...)` as `(batch, groups, size, ...)`, padded on the left with zeros.

    Args:
        size: Number of neighbours in a group.
        newest: Number of groups that are kept, the newest. Defaults to `None`: all.
    """

    def __init__(self, size: int, newest: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.size = size
        self.newest = newest

    def call(self, x: Any) -> Any:
        is_bool = keras.backend.standardize_dtype(x.dtype) == "bool"
        batch, length, *shape = ops.shape(x)
        x = ops.cast(x, "int32") if is_bool else x
        x = ops.pad(x, ((0, 0), (-length % self.size, 0), *((0, 0) for _ in shape)))
        x = ops.reshape(x, (batch, -1, self.size, *shape))
        x = x if self.newest is None else x[:, -self.newest :]
        return ops.cast(x, "bool") if is_bool else x

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        length = x.shape[1]
        groups = None if length is None else -(-length // self.size)
        if self.newest is not None:
            groups = self.newest if groups is None else min(self.newest, groups)
        return keras.KerasTensor((x.shape[0], groups, self.size, *x.shape[2:]), dtype=x.dtype)
