"""Replicas: gradients and logs where TensorFlow trains on several devices."""

from collections.abc import Sequence
from typing import Any

import keras


def sum_over_replicas(gradients: Sequence[Any]) -> list[Any]:
    """Gradients summed over all devices; those of rows are laid one below the other.

    Args:
        gradients: Gradients of this device; None where there is none.

    Returns:
        A list like it.
    """
    if keras.backend.backend() != "tensorflow":
        return list(gradients)
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return list(gradients)
    there = [i for i, gradient in enumerate(gradients) if gradient is not None]
    sums = replica.all_reduce(tf.distribute.ReduceOp.SUM, [gradients[i] for i in there])
    summed = dict(zip(there, sums, strict=True))
    return [summed.get(i) for i in range(len(gradients))]


def logs_of_replica(logs: Any) -> Any:
    """What a step returns, such that Keras's trainer can take its mean over workers.

    Under `tf.distribute.MultiWorkerMirroredStrategy` it takes the mean over the first axis, which
    scalars lack.

    Args:
        logs: Scalars by name on TensorFlow; anything on JAX.

    Returns:
        The same; over several workers tensors `(1,)`.
    """
    if keras.backend.backend() != "tensorflow":
        return logs
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return keras.tree.map_structure(lambda scalar: tf.reshape(scalar, (1,)), logs)
