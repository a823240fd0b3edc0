"""Encoded columns in memory, each in as few bytes as hold its numbers."""

from typing import Any

import numpy as np


class NarrowColumns:
    """The columns of an array `(rows, ..., columns)`, whose rows are taken as they were.

    int32 columns are kept as the least type that holds all of their numbers.

    Args:
        array: At least one row, of any dtype.
    """

    def __init__(self, array: np.ndarray) -> None:
        import tensorflow as tf

        is_whole, self._dtype = array.dtype == "int32", array.dtype
        kinds = _least(array) if is_whole else [array.dtype] * array.shape[-1]
        of_kind = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in kinds}
        self._places = np.argsort(np.concatenate([*of_kind.values()])).tolist()
        with tf.device("CPU"):
            self.groups = [tf.constant(array[..., at], kind) for kind, at in of_kind.items()]

    def take(self, index: Any) -> Any:
        """Some rows, `(*index, ..., columns)`, with the dtype of the array."""
        import tensorflow as tf

        found = [tf.cast(tf.gather(group, index), self._dtype) for group in self.groups]
        return tf.gather(tf.concat(found, -1), self._places, axis=-1) if found[1:] else found[0]


def _least(array: np.ndarray) -> list[np.dtype]:
    """The least dtype of each column, int32 where none has fewer bytes."""
    rows = array.reshape(-1, array.shape[-1])
    ends = zip(rows.min(axis=0), rows.max(axis=0), strict=True)
    # `~high` is the number below 0 that takes as many bytes.
    least = [np.min_scalar_type(high if low >= 0 else min(low, ~high)) for low, high in ends]
    return [kind if kind.itemsize < 4 else array.dtype for kind in least]


def take_rows(rows: Any, index: Any) -> Any:
    """Some rows of `NarrowColumns` or of a tensor."""
    import tensorflow as tf

    return rows.take(index) if isinstance(rows, NarrowColumns) else tf.gather(rows, index)
