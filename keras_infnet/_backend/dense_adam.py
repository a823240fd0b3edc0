"""Adam's step of a dense variable as one operation, where a backend has one."""

from typing import Any

import keras


def has_dense_adam(gradient: Any) -> bool:
    """Whether there is a `DenseAdam` of a gradient: on TensorFlow, a dense one of one device."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # Of a strategy, a variable is one of each device.
    return isinstance(gradient, tf.Tensor) and not tf.distribute.has_strategy()


class DenseAdam:
    """`m += (1 - b1) (g - m)`, `v += (1 - b2) (g^2 - v)`, `w -= rate m / (sqrt(v) + epsilon)`.

    Keras makes some forty operations of it, which are traced, compiled and started for each
    variable of a step.

    Args:
        rate: Learning rate of the step, without the moments' bias.
        beta_1: Share `b1` of the old first moment.
        beta_2: Share `b2` of the old second moment.
        epsilon: Added to the root of the second moment.
    """

    def __init__(self, rate: Any, beta_1: float, beta_2: float, epsilon: float) -> None:
        import tensorflow as tf

        # The operation corrects the bias itself, by powers of beta; at 0 its correction is 1.
        zero = tf.zeros((), rate.dtype)
        shares = {"beta1": beta_1, "beta2": beta_2, "epsilon": epsilon}
        self._given = {name: tf.constant(value, rate.dtype) for name, value in shares.items()}
        self._given |= {"lr": rate, "beta1_power": zero, "beta2_power": zero}

    def __call__(self, variable: Any, m: Any, v: Any, gradient: Any) -> None:
        """Updates a native variable `w` and its moments, Keras's, by a gradient `g`."""
        import tensorflow as tf

        handles = {"var": variable.handle, "m": m.value.handle, "v": v.value.handle}
        gradient = tf.cast(gradient, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(**handles, grad=gradient, **self._given)
