"""Embedding tables of an exported graph in fewer bits, dequantised row by row at the look-up."""

from typing import Any

import numpy as np

from keras_infnet._backend.row_lookups import RowLookups, is_marked

# Largest difference of an output that is allowed against float32 tables, by table dtype.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "int8": 1e-2}
_MAX_INT8 = 127


class StoredTables(RowLookups):
    """In its context, look-ups of a model's embedding tables read rows stored in fewer bits.

    `E_r` is stored as float16, or as `Q_r = round(E_r / s_r)` in int8 with a float32 scale
    `s_r = max |E_r| / 127` for each row `r`; a look-up gives `s_r Q_r`, in float32. Only the rows
    of the look-up are dequantised.

    Args:
        model: A built model of this library, on TensorFlow.
        dtype: `"float16"` or `"int8"`.
    """

    def __init__(self, model: Any, dtype: str) -> None:
        import tensorflow as tf

        super().__init__([v for v in model.variables if is_marked(v)])
        self.variables = []
        for table in self.tables:
            parts = quantise(table.numpy()) if dtype == "int8" else (table.numpy().astype(dtype),)
            self.variables.append([tf.Variable(part, trainable=False) for part in parts])

    def look_up(self, table: Any, ids: Any) -> Any:
        """Rows `ids.shape + (dim,)`, float32."""
        import tensorflow as tf

        (index,) = [i for i, known in enumerate(self.tables) if known is table]
        rows, *scales = [tf.gather(part, ids) for part in self.variables[index]]
        rows = tf.cast(rows, "float32")
        return rows * scales[0] if scales else rows


def quantise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in int8 and their scales.

    Args:
        table: Float array `(rows, dim)`.

    Returns:
        int8 `(rows, dim)` and float32 `(rows, 1)`, whose product is the table but for at most half
        a scale.
    """
    largest = np.abs(table).max(axis=1, keepdims=True)
    scales = np.where(largest > 0, largest / _MAX_INT8, 1.0).astype("float32")
    return np.rint(table / scales).astype("int8"), scales
