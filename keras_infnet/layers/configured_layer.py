"""What our layers have in common: arguments are their config, parts are built at once."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


class ConfiguredLayer(keras.layers.Layer):
    """A layer that keeps each argument of its constructor as an attribute of that name."""

    def get_config(self) -> dict[str, Any]:
        ours = [kind for kind in type(self).__mro__ if issubclass(kind, ConfiguredLayer)]
        names = [name for kind in ours for name in inspect.getfullargspec(kind.__init__).args[1:]]
        arguments = {n: keras.saving.serialize_keras_object(getattr(self, n)) for n in names}
        return {**super().get_config(), **arguments}

    def _dense(self, name: str, in_dim: int, out_dim: int, **options: Any) -> keras.layers.Dense:
        """A part that is built, of the layer's own policy."""
        dense = keras.layers.Dense(out_dim, **{"dtype": self.dtype_policy, **options}, name=name)
        dense.build((None, in_dim))
        return dense

    def _norm(self, name: str, dim: int, **options: Any) -> keras.layers.LayerNormalization:
        """A normalisation over the last axis that is built, of the layer's own policy."""
        norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name=name, **options)
        norm.build((None, dim))
        return norm

    def _glorot(self, name: str, shape: tuple, columns: int | None = None) -> Any:
        """A weight of several matrices, each as wide as Glorot's of it alone.

        Args:
            name: Name of the weight.
            shape: Its shape; Keras's initializer would count the matrices as inputs too.
            columns: Columns of one matrix. Defaults to `None`: the last of the shape.
        """
        limit = (6 / (shape[-2] + (columns or shape[-1]))) ** 0.5
        return self.add_weight(shape, keras.initializers.RandomUniform(-limit, limit), name=name)


def table_initializer(given: Any) -> Any:
    """An initializer of embeddings: what is given, or by default a normal one of 0.01."""
    return keras.initializers.get(given or keras.initializers.RandomNormal(stddev=0.01))


def joined(parts: Sequence[Any], axis: int = 1) -> Any:
    """Tensors side by side; one alone needs no copy."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)


def event_positions(tokens: Any) -> Any:
    """int32 `0 .. length - 1`: a constant where the length is known."""
    length = tokens.shape[1]
    if length is not None:
        return np.arange(length, dtype="int32")
    return ops.arange(ops.shape(tokens)[1], dtype="int32")
