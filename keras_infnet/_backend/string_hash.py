"""Hashes of strings and integers that no vocabulary holds."""

import numpy as np
import pyarrow as pa


def hash_buckets(values: pa.Array, buckets: int) -> np.ndarray:
    """Bucket of each value, from 0: by TensorFlow's own hash, so that the graph agrees."""
    import tensorflow as tf

    if pa.types.is_integer(values.type):
        text = tf.strings.as_string(tf.constant(np.asarray(values)))
    else:
        text = tf.constant(values.to_numpy(zero_copy_only=False), tf.string)
    return tf.strings.to_hash_bucket_fast(text, buckets).numpy().astype("int32")
