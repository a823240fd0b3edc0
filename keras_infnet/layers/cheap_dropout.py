"""Keras's dropout with random bits that are cheap on every backend."""

from typing import Any

import keras

from keras_infnet._backend.random_dropout import random_dropout


@keras.saving.register_keras_serializable(package="keras_infnet")
class CheapDropout(keras.layers.Dropout):
    """`Dropout`, with `random_dropout`."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        return random_dropout(inputs, self.rate, self.seed_generator)
