"""Finite numbers: where a training that diverged shows."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np


def is_finite(array: np.ndarray) -> bool:
    """Whether an array holds neither NaN nor infinity; both are seen in its ends."""
    if array.dtype.kind in "biu" or not array.size:
        return True
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def not_finite(variables: Iterable[Any]) -> list[str]:
    """Paths of the variables that hold NaN or infinity."""
    return [v.path for v in variables if not is_finite(keras.ops.convert_to_numpy(v))]


def shown_weights(paths: list[str], of: int) -> str:
    """Some paths of weights in words, such as "3 of 40 weights hold NaN or infinity, such as x"."""
    return f"{len(paths)} of {of} weights hold NaN or infinity, such as `{paths[0]}`"
