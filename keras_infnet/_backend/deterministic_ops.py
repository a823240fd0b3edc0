"""Deterministic operations: the backend's switch for the same bits in each run."""

import os

import keras

_XLA_FLAG = "--xla_gpu_deterministic_ops=true"


def enable_deterministic_ops() -> None:
    """Makes the backend refuse or replace operations whose result varies from run to run.

    It can't be undone. JAX is deterministic on a CPU; it reads its flag for GPUs at the first
    operation.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif _XLA_FLAG not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_XLA_FLAG}".strip()
