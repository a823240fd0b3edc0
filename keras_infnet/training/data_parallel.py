"""Data parallel training: several devices, each with all weights."""

from typing import Any

import keras

from keras_infnet._backend.devices import first_devices, mirrored_strategy


def data_parallel(num_devices: int | None = None) -> Any:
    """Several devices of one machine, each with all weights and an equal part of every batch.

    The gradients of all parts are summed before an optimizer sees them, so that a step is that of
    one device on the whole batch, with `SparseAdagrad`, `LazyAdam` and `LazyAdamW` as with dense
    optimizers. Keras's own optimizers on TensorFlow clip before they sum.

    Args:
        num_devices: Number of devices; the first ones are taken, GPUs or TPUs if there are any.
            Defaults to `None`: all.

    Returns:
        A `keras.distribution.DataParallel` on JAX, a `tf.distribute.MirroredStrategy` on
        TensorFlow. Build, compile and train a model within its `scope()`.

    Raises:
        ValueError: `num_devices` is below 1, or there are fewer devices.

    Example:
        >>> with keras_infnet.training.data_parallel(num_devices=1).scope():
        ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.count_params()
        3
    """
    devices = first_devices("data_parallel", num_devices)
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=devices)
    return mirrored_strategy(tuple(devices))
