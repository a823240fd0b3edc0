"""Batches of two datasets in one, at places that are even and the same in each pass."""

from typing import Any

import numpy as np


def mixed_batches(data: Any, batches: int, more: Any, number: int) -> Any:
    """All batches of a dataset in their order, with batches of another one between them.

    Args:
        data: A finite `tf.data.Dataset`.
        batches: Its number of batches.
        more: Another one of like batches, of which each pass takes the first, or, where it ends,
            begins again.
        number: How many.

    Returns:
        A `tf.data.Dataset` that knows its number of batches.

    Raises:
        TypeError: The batches are of other inputs, shapes or dtypes.
    """
    import tensorflow as tf

    of_more = np.zeros(batches + number, "int64")
    of_more[((np.arange(number) + 0.5) * len(of_more) / number).astype("int64")] = 1
    mixed = tf.data.Dataset.choose_from_datasets(
        [data, more.repeat()],
        tf.data.Dataset.from_tensor_slices(of_more),
        stop_on_empty_dataset=False,
    )
    return mixed.apply(tf.data.experimental.assert_cardinality(len(of_more))).prefetch(2)
