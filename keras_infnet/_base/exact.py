"""Exact whole numbers: up to where a float holds each of them."""

from typing import Any

import numpy as np


def exact_below(dtype: Any) -> int:
    """From this number on, two whole numbers may be one float of a dtype.

    Args:
        dtype: A float dtype of numpy, or one of pandas that has one below it.

    Example:
        >>> exact_below("float64") == 2**53
        True
    """
    return 2 ** (np.finfo(getattr(dtype, "numpy_dtype", dtype)).nmant + 1)
