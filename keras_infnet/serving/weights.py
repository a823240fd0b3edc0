"""Weights of an exported graph: constants, and embedding tables in fewer bits."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_infnet._backend.row_lookups import RowLookups, is_marked
from keras_infnet._base.finite import not_finite, shown_weights
from keras_infnet._keras_internals import layers_inside

# Largest difference of an output that is allowed against float32 tables, by table dtype.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "int8": 1e-2}
# The same where the model itself computes in fewer bits, whose sums come in another order.
_OF_COMPUTING = {"float16": 1e-2, "bfloat16": 5e-2, "quantized": 1e-2}
_MAX_INT8 = 127

# Folding gains nothing with large weights, and a graph's file holds 2 GB at most.
_LARGEST_CONSTANT = 262_144


def tolerance_of(model: Any, table_dtype: str) -> float:
    """How far an exported model's answers may be from those of its Keras model."""
    computes = {layer.compute_dtype for layer in layers_inside(model)}
    if any(getattr(layer, "quantization_mode", None) for layer in layers_inside(model)):
        computes.add("quantized")
    return max([TOLERANCES[table_dtype], *(_OF_COMPUTING.get(c, 0.0) for c in computes)])


def check_finite_weights(model: Any, who: str) -> None:
    """A ValueError that names weights that hold NaN or infinity."""
    paths = not_finite(model.weights)
    if paths:
        raise ValueError(
            f"{who}: {shown_weights(paths, len(model.weights))}; expected finite weights. The "
            "training has diverged: train again with a lower learning rate, or load the weights "
            "of an earlier checkpoint."
        )


@contextmanager
def exported_variables(model: Any, table_dtype: str) -> Iterator[list[Any]]:
    """In its context, a model reads constants and stored tables instead of its variables.

    Weights of up to 262,144 numbers become constants, which all signatures share and TensorFlow
    folds where they meet each other when it loads the model: a small request then takes less CPU
    time. Embedding tables stay variables, of the dtype asked for, and so do larger weights.

    Args:
        model: A built model of this library, on TensorFlow.
        table_dtype: `"float32"`, `"float16"` or `"int8"`.

    Yields:
        TensorFlow's variables that are read, to be tracked by what is saved.
    """
    import tensorflow as tf

    model.settle_embeddings()
    tables = StoredTables(model, table_dtype)
    others = [v for v in model.variables if not is_marked(v)]
    large = [v for v in others if math.prod(v.shape) > _LARGEST_CONSTANT]
    small = [v for v in others if math.prod(v.shape) <= _LARGEST_CONSTANT]
    constants = [(variable, tf.constant(variable.numpy())) for variable in small]
    with tables, keras.StatelessScope(state_mapping=constants):
        yield [*tables.variables, *(v.value for v in large)]


class StoredTables(RowLookups):
    """In its context, look-ups of a model's embedding tables read them as they are stored.

    In float16 a row is rounded. In int8 it is `Q_r = round(E_r / s_r)` with a float32 scale
    `s_r = max |E_r| / 127` of its own, and a look-up gives `s_r Q_r`. Look-ups give float32, and
    only their rows are dequantised: also where a layer asks for a whole table and looks rows of it
    up, which leaves the whole one unread in the graph.

    Args:
        model: A built model of this library, on TensorFlow.
        dtype: `"float32"`, `"float16"` or `"int8"`.

    Attributes:
        variables: TensorFlow's variables that hold the tables.
    """

    has_frozen_rows = True

    def __init__(self, model: Any, dtype: str) -> None:
        super().__init__([v for v in model.variables if is_marked(v)])
        stored = [_stored(table, dtype) for table in self.tables]
        self.variables = [part for parts in stored for part in parts]
        # Of each known table: where its rows are stored, and from which row on.
        self._places = [(parts, 0) for parts in stored]
        # Tables that are computed of these, and how rows of them are.
        self._computed: list[tuple[Any, Callable[[Any], Any]]] = []

    def add_computed(self, table: Any, look_up: Callable[[Any], Any]) -> None:
        """Takes note of how rows alone of a table are computed."""
        self.tables.append(table)
        self._places.append(([], 0))
        self._computed.append((table, look_up))

    def look_up(self, table: Any, ids: Any) -> Any:
        """Rows `ids.shape + (dim,)`, float32."""
        import tensorflow as tf

        for computed, rows_of in self._computed:
            if computed is table:
                return rows_of(ids)
        (place,) = [i for i, known in enumerate(self.tables) if known is table]
        stored, first = self._places[place]
        if not isinstance(ids, np.ndarray):
            return _dequantised([tf.gather(part, ids + first) for part in stored])
        # A layer asks for all rows of a table, one after the other.
        start, end = int(ids[0]), int(ids[-1]) + 1
        whole = _dequantised([part[start:end] for part in stored])
        self.tables.append(whole)
        self._places.append((stored, start))
        return whole


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


def _stored(table: Any, dtype: str) -> list[Any]:
    """Variables that hold a table: its rows, and for int8 their scales."""
    import tensorflow as tf

    if dtype == "float32":
        return [table.value]
    parts = quantise(table.numpy()) if dtype == "int8" else [table.numpy().astype(dtype)]
    return [tf.Variable(part, trainable=False) for part in parts]


def _dequantised(parts: list[Any]) -> Any:
    import tensorflow as tf

    rows, *scales = parts
    rows = tf.cast(rows, "float32")
    return rows * scales[0] if scales else rows
