"""Rows of a metric: counted in cells where they lie, or handed to the host."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.tensorflow_internals import compiled_by_xla
from keras_infnet._backend.traced import is_traced


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


def hand_to_host(handed: Sequence[tuple[Callable[[Any], None], Any]]) -> None:
    """Calls each receiver with its tensor, as one that is its own and that NumPy can read.

    Now where tensors have values, without waiting for them; else each time that the program that is
    being traced runs.
    """
    if not handed:
        return
    receivers = [receive for receive, _ in handed]
    tensors = [tensor for _, tensor in handed]

    def receive_all(*arrays: Any) -> None:
        for receive, array in zip(receivers, arrays, strict=True):
            # The backend may use the memory again.
            receive(np.array(array))

    if not is_traced(tensors):
        for receive, tensor in handed:
            receive(tensor)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.numpy_function(receive_all, tensors, [])
    else:
        from jax.experimental import io_callback

        io_callback(receive_all, None, *tensors)


def wait_for_host() -> None:
    """Returns when all that programs have handed over so far is there; JAX does not wait."""
    if keras.backend.backend() == "jax":
        import jax

        jax.effects_barrier()


def why_not_to_host(leaves_step: bool) -> str | None:
    """Why rows that are at hand here can't be handed to the host; None: they can.

    Args:
        leaves_step: Whether the rows are handed over outside of what XLA compiles.
    """
    if keras.backend.backend() == "jax":
        import jax

        several = jax.process_count() > 1
    else:
        import tensorflow as tf

        if not leaves_step and compiled_by_xla():
            return (
                "XLA compiles the steps of this model and can't hand rows to Python; "
                "`compile(..., jit_compile=False)` lets them"
            )
        local = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)
        strategy = tf.distribute.get_strategy()
        several = tf.distribute.has_strategy() and not isinstance(strategy, local)
    return "several processes evaluate, and each has its own rows alone" if several else None
