"""The backend's gradient of a loss with respect to all weights, as numpy arrays by path."""

import keras
import numpy as np


def gradients(model, inputs, loss, training=False):
    """`{path: d loss(model(inputs)) / d weight}`; a weight that is not reached has None.

    In training, losses that layers add are part of it.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(model(inputs, training=training))
            value = sum(model.losses, value)
        found = tape.gradient(value, [v.value for v in model.trainable_variables])
    else:
        import jax

        def of_values(values):
            outputs, _, added = model.stateless_call(
                values,
                [v.value for v in model.non_trainable_variables],
                inputs,
                training=training,
                return_losses=True,
            )
            return sum(added, loss(outputs))

        found = jax.jit(jax.grad(of_values))([v.value for v in model.trainable_variables])
    paths = [v.path for v in model.trainable_variables]
    return {p: g if g is None else np.array(g) for p, g in zip(paths, found, strict=True)}
