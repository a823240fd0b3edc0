"""Cells of a metric: bits of floats that number them, sums that are added to where they lie."""

from typing import Any

import keras
from keras import ops


def add_rows(variable: Any, index: Any, rows: Any) -> None:
    """`variable[index] += rows`, at a cost that does not grow with the variable.

    TensorFlow would copy it in each call; XLA updates it in place where a step donates its state.

    Args:
        variable: Keras variable `(size, width)`.
        index: Integer tensor `(rows,)`.
        rows: Tensor `(rows, width)`.
    """
    index = ops.expand_dims(index, -1)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Of several devices each has sums of its own, which know no other way than to be assigned.
        held = variable.value
        if isinstance(held, tf.Variable) and not isinstance(held, tf.distribute.DistributedValues):
            held.scatter_nd_add(index, rows)
            return
    variable.assign(ops.scatter_update(variable, index, rows, reduction="add"))


def float_bits(x: Any) -> Any:
    """The bits of float32 numbers as int32; of numbers of 0 or more, they rise with them."""
    if keras.backend.backend() != "tensorflow":
        return ops.view(x, "int32")
    import tensorflow as tf

    # Keras's `view` needs shapes that are known.
    return tf.bitcast(x, tf.int32)


def can_be_read(tensor: Any) -> bool:
    """Whether a tensor has its values now, and is not one of a program that is being traced."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly()
    from jax.core import Tracer

    return not isinstance(tensor, Tracer)
