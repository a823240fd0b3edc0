"""Row look-ups of an embedding table whose gradient is dense, the same maths on both backends."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.row_lookups import row_lookups


def embedding_lookup(table: Any, ids: Any) -> Any:
    """Rows `table[ids]`, with a gradient as dense as the table.

    On TensorFlow the stock gradient of a gather is `IndexedSlices`, and Keras optimizers square
    those before duplicate ids are summed, which is not the maths of Adam or Adagrad. Here
    duplicates are summed first, as JAX does. In a training step whose optimizer updates the table
    by rows, the gradient is that of the rows. Ids are not checked: encoders make them.

    Args:
        table: Float variable or tensor `(rows, dim)`.
        ids: Integer tensor of any shape, `0 <= ids < rows`.

    Returns:
        Float tensor `ids.shape + (dim,)`.
    """
    by_row = row_lookups(table)
    if by_row is not None:
        return by_row.look_up(table, ids)
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_lookup(ops.convert_to_tensor(table), ops.convert_to_tensor(ids))
    return _jax_lookup(ops.convert_to_tensor(table), ops.convert_to_tensor(ids))


def _jax_lookup(table: Any, ids: Any) -> Any:
    # The stock look-up fills rows of ids out of range with NaN, which costs a pass over the output.
    return table.at[ids].get(mode="promise_in_bounds")


def _tensorflow_lookup(table: Any, ids: Any) -> Any:
    import tensorflow as tf

    # The gradient of a reshape sums duplicate rows. A gradient of our own would do so too, but
    # TensorFlow keeps each, with its whole graph, until the process ends.
    return tf.gather(tf.reshape(table, table.shape), ids)
