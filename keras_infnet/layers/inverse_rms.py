"""One over the root mean square of vectors, by which attention divides queries and keys."""

from typing import Any

from keras import ops

# Tokens start at some 1e-2, so it matters for those that are 0 alone, and bounds their gradient.
_EPSILON = 1e-6


def inverse_rms(x: Any) -> Any:
    """`1 / sqrt(mean(x^2) + 1e-6)` over the last axis, which stays as 1; in float32."""
    square = ops.square(ops.cast(x, "float32"))
    return ops.rsqrt(ops.mean(square, axis=-1, keepdims=True) + _EPSILON)
