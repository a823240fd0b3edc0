"""Private names of TensorFlow that we lean on: behind functions, and in one table.

All are in TensorFlow 2.21. `tests/house/test_keras_internals.py` fails with the name where the
installed version lacks one.
"""

import sys
from typing import Any

from keras_infnet._keras_internals import Internal

_DATASET = "tensorflow.data.Dataset"
TENSORFLOW_INTERNALS = (
    Internal(_DATASET, "_inputs", "inputs_of, and overridden by `batch_dataset`", ("_backend",)),
    Internal(_DATASET, "_variant_tensor", "what a dataset of ours is made of", ("_backend",)),
    Internal(
        "tensorflow.python.ops.control_flow_util", "GraphOrParentsInXlaContext", "compiled_by_xla"
    ),
    Internal(
        "tensorflow.python.framework.config",
        "is_op_determinism_enabled",
        "operations_are_deterministic",
    ),
)


def inputs_of(dataset: Any) -> list[Any]:
    """The datasets that a `tf.data.Dataset` is made of; anything else is made of none."""
    # Where nobody has imported it, there is no dataset of it.
    tf = sys.modules.get("tensorflow")
    return dataset._inputs() if tf is not None and isinstance(dataset, tf.data.Dataset) else []


def compiled_by_xla() -> bool:
    """Whether the graph that is being traced is compiled by XLA."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(graph)


def operations_are_deterministic() -> bool:
    """Whether operations that give other bits in each run are refused or replaced."""
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return is_op_determinism_enabled()
