"""Gradients of looked-up rows, and the rows of tables and slots that they change."""

from typing import Any

import keras

from keras_infnet._backend.tensorflow_internals import compiled_by_xla


class RowGradient:
    """The gradient of a table on JAX, as `tf.IndexedSlices` on TensorFlow.

    Args:
        values: Float tensor `(look-ups, dim)`.
        indices: Integer tensor `(look-ups,)`; an id may come several times.
    """

    def __init__(self, values: Any, indices: Any) -> None:
        self.values, self.indices = values, indices


def is_row_gradient(gradient: Any) -> bool:
    """Whether a gradient has values for some rows alone."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return isinstance(gradient, tf.IndexedSlices)
    return isinstance(gradient, RowGradient)


def with_values(gradient: Any, values: Any) -> Any:
    """The gradient of the same rows with other values."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return RowGradient(values, gradient.indices)


def sum_duplicates(gradient: Any, positions: Any) -> Any:
    """The gradient with one value for each id: the sum of its look-ups' values.

    Nothing is sorted: each look-up writes its position at its id, and the one that stays stands
    for all of them. Where shapes are static, the others keep a place with value 0 and an id out
    of range, which `read_rows` and `write_rows` pass over.

    Args:
        gradient: Gradient of rows.
        positions: Int32 variable `(rows,)`, whose content has no meaning between the calls.

    Returns:
        A gradient of the same kind.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_sum(gradient, positions)
    import jax.numpy as jnp

    ids, rows = gradient.indices.astype("int32"), positions.shape[0]
    order = jnp.arange(ids.shape[0], dtype="int32")
    written = positions.value.at[ids].set(order, mode="drop")
    positions.assign(written)
    first = written.at[ids].get(mode="fill", fill_value=ids.shape[0])
    values = jnp.zeros_like(gradient.values).at[first].add(gradient.values, mode="drop")
    return RowGradient(values, jnp.where(first == order, ids, rows))


def read_rows(variable: Any, ids: Any) -> Any:
    """Rows `(ids, dim)` of a variable; those of ids out of range have no meaning."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(_native(variable), ids)
    return variable.value.at[ids].get(mode="clip")


def write_rows(variable: Any, ids: Any, rows: Any, add: bool = False) -> None:
    """Sets or adds rows in place; no id in range may come twice, those out of range are left out.

    Args:
        variable: Table or slot, `(rows, dim)`.
        ids: Integer tensor `(ids,)` from `sum_duplicates`.
        rows: Float tensor `(ids, dim)`.
        add: Whether rows are added.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        variable = _native(variable)
        write = variable.scatter_add if add else variable.scatter_update
        write(tf.IndexedSlices(rows, ids))
        return
    at = variable.value.at[ids]
    variable.assign((at.add if add else at.set)(rows, mode="drop"))


def _tensorflow_sum(gradient: Any, positions: Any) -> Any:
    import tensorflow as tf

    ids, values = gradient.indices, gradient.values
    if not compiled_by_xla():
        unique, first = tf.unique(ids)
        sums = tf.math.unsorted_segment_sum(values, first, tf.shape(unique)[0])
        return tf.IndexedSlices(sums, unique, gradient.dense_shape)
    ids, positions = tf.cast(ids, "int32"), _native(positions)
    rows = positions.shape[0]
    order = tf.range(tf.shape(ids)[0])
    positions.scatter_update(tf.IndexedSlices(order, ids))
    # Compiled, an id out of range would read the position of another one.
    in_range = tf.logical_and(ids >= 0, ids < rows)
    first = tf.where(in_range, tf.gather(positions, ids), -1)
    sums = tf.math.unsorted_segment_sum(values, first, tf.shape(ids)[0])
    ids = tf.where(tf.equal(first, order), ids, rows)
    return tf.IndexedSlices(sums, ids, gradient.dense_shape)


def _native(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable
