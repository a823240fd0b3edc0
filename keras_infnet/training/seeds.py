"""Seeds of Python, NumPy, Keras, the backend and tf.data, in one call."""

import keras

from keras_infnet._backend.deterministic_ops import enable_deterministic_ops


def set_seeds(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, NumPy, Keras, the backend and tf.data, so that a run can be repeated.

    Args:
        seed: Any integer of 0 or more.
        deterministic: Whether operations that differ from run to run on a GPU are refused or
            replaced by slower ones. It stays on until the process ends; under JAX call it before
            the first operation.

    Raises:
        ValueError: `seed` is not an integer of 0 or more.

    Example:
        >>> keras_infnet.training.set_seeds(7)
        >>> first = keras.random.uniform(())
        >>> keras_infnet.training.set_seeds(7)
        >>> bool(first == keras.random.uniform(()))
        True
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer from 0 to 2**32 - 1. Received: {seed!r}")
    keras.utils.set_random_seed(seed)
    if deterministic:
        enable_deterministic_ops()
