"""MLP: the hidden layers of models that have some, and dropout."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_infnet._backend.random_dropout import CheapDropout


def mlp(inputs: Any, widths: Sequence[int], dropout: float, name: str) -> Any:
    """`Dense(relu)` and dropout for each width; layers are named `{name}_0` and so on."""
    for i, width in enumerate(widths):
        inputs = keras.layers.Dense(width, activation="relu", name=f"{name}_{i}")(inputs)
        inputs = dropped(inputs, dropout, f"{name}_dropout_{i}")
    return inputs


def dropped(x: Any, dropout: float, name: str) -> Any:
    """Dropout, or without a rate `x` itself."""
    return CheapDropout(dropout, name=name)(x) if dropout else x
