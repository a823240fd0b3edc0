"""MLP: the hidden layers of models that have some."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_infnet._backend.random_dropout import CheapDropout


def mlp(inputs: Any, widths: Sequence[int], dropout: float, name: str) -> Any:
    """`Dense(relu)` and dropout for each width; layers are named `{name}_0` and so on."""
    for i, width in enumerate(widths):
        inputs = keras.layers.Dense(width, activation="relu", name=f"{name}_{i}")(inputs)
        if dropout:
            inputs = CheapDropout(dropout, name=f"{name}_dropout_{i}")(inputs)
    return inputs
