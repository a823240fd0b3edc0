"""Programs that are being traced: whether they are, and what XLA compiles of them."""

from collections.abc import Callable, Iterable
from typing import Any

import keras


def is_traced(tensors: Iterable[Any]) -> bool:
    """Whether the tensors are those of a program that is being traced, and have no values yet."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    from jax.core import Tracer

    return any(isinstance(tensor, Tracer) for tensor in tensors)


def part_by_xla(part: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow: a part of the program that is being traced, such that XLA compiles it alone."""
    import tensorflow as tf

    if tf.executing_eagerly():
        return part
    return tf.function(part, jit_compile=True, autograph=False)
