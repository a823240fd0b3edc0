"""Products of tensors with a weight: on TensorFlow in fewer operations than Keras's."""

from typing import Any

import keras
from keras import ops


def project(x: Any, kernel: Any) -> Any:
    """`x @ kernel` over the last axis, `(..., width)` by `(width, units)`.

    Keras has `tf.tensordot` for it, which looks for shapes as it runs where only the batch is
    unknown: fourteen operations to trace, where three do, and as many in their gradient.
    """
    middle = tuple(x.shape[1:-1])
    if keras.backend.backend() != "tensorflow" or not middle or None in middle:
        return ops.matmul(x, kernel)
    rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), kernel)
    return ops.reshape(rows, (-1, *middle, kernel.shape[-1]))
