"""Devices: which there are, and how values are laid out over them."""

import contextlib
import functools
from typing import Any

import keras

from keras_infnet._keras_internals import is_distributed, layout_of

_VIRTUAL = {
    "jax": "set XLA_FLAGS=--xla_force_host_platform_device_count={n} before Python starts",
    "tensorflow": (
        'call tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")'
        "[0], [tf.config.LogicalDeviceConfiguration()] * {n}) before anything else"
    ),
}


def first_devices(caller: str, number: int | None) -> list[str]:
    """Names of the first so many devices: GPUs or TPUs if there are any, else CPUs.

    Args:
        caller: Name of the public function, for the message.
        number: How many; None: all.

    Returns:
        Names such as `"gpu:0"`.
    """
    devices = keras.distribution.list_devices()
    if number is None:
        return devices
    if number < 1:
        raise ValueError(f"{caller}: the number of devices must be 1 or more. Received: {number}")
    if number > len(devices):
        virtual = _VIRTUAL[keras.backend.backend()].format(n=number)
        raise ValueError(
            f"{caller}: {number} devices were asked for, and there are {len(devices)} "
            f"({', '.join(devices)}). Ask for fewer; or, to try it on a CPU, {virtual}."
        )
    return devices[:number]


@functools.cache
def mirrored_strategy(devices: tuple[str, ...]) -> Any:
    """TensorFlow's strategy that keeps a copy of all weights on each device.

    One for the same devices: the sums of a second one meet those of the first and fail.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def scope_of(model: keras.Model) -> Any:
    """The scope of the `tf.distribute` strategy that a model was made within, if there is one."""
    return model.distribute_strategy.scope() if is_distributed(model) else contextlib.nullcontext()


def layout_of_rows(table: Any) -> Any:
    """How a vector with one entry for each row of a table is laid out: as the rows are."""
    layout = layout_of(table)
    if not isinstance(layout, keras.distribution.TensorLayout):
        return None
    return keras.distribution.TensorLayout(layout.axes[:1], layout.device_mesh)


def on_every_device(value: Any) -> Any:
    """JAX: the value, whole on each of the devices that train; without it tables would move."""
    import jax

    distribution = keras.distribution.distribution()
    if distribution is None:
        return value
    mesh = distribution.device_mesh.backend_mesh
    layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.lax.with_sharding_constraint(value, layout)
