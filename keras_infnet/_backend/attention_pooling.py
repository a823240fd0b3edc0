"""Attention of a few queries to a long memory, which is read as it lies."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

# Added to a score, or in its place: the weight is 0, unless that of all others is too.
NEVER = -1e30


def masked_softmax(scores: Any, mask: Any = None) -> Any:
    """Softmax over the last axis, in float32; a row without a valid entry is 0, not NaN.

    Args:
        scores: Float tensor `(..., length)`.
        mask: Bool tensor that broadcasts to `scores`, True where valid. Defaults to `None`.

    Returns:
        Float32 tensor like `scores`.
    """
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, NEVER)
    # Not `ops.softmax`, which warns where the memory has one token, such as a single task.
    weights = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    if mask is None:
        return weights / ops.sum(weights, axis=-1, keepdims=True)
    weights = ops.where(mask, weights, 0.0)
    total = ops.sum(weights, axis=-1, keepdims=True)
    # A row with a valid entry has a total of 1 or more; an empty one divides 0 by 1.
    return weights / (total + ops.cast(ops.equal(total, 0.0), "float32"))


def masked_silu(scores: Any, mask: Any = None) -> Any:
    """`silu(s) / n` of `n` valid entries of the last axis, in float32; 0 where there is none.

    Args:
        scores: Float tensor `(..., length)`.
        mask: Bool tensor that broadcasts to `scores`, True where valid. Defaults to `None`.

    Returns:
        Float32 tensor like `scores`.
    """
    weights = ops.silu(ops.cast(scores, "float32"))
    if mask is None:
        return weights / ops.cast(ops.shape(weights)[-1], "float32")
    number = ops.sum(ops.cast(mask, "float32"), axis=-1, keepdims=True)
    return ops.where(mask, weights, 0.0) / ops.maximum(number, 1.0)


# Weights of scores, by the name of what makes them.
WEIGHTS: dict[str, Callable[..., Any]] = {"softmax": masked_softmax, "silu": masked_silu}


def attention_pooling(
    queries: Any,
    memory: Any,
    mask: Any = None,
    bias: Any = None,
    scale: Any = None,
    activation: str = "softmax",
) -> Any:
    """`softmax(Q X^T * scale + bias) X`, where masked positions have no weight.

    On JAX it has a gradient of its own: XLA on CPU takes six times as long for `Q X^T`, few rows
    times many, as for `X Q^T`, and turns the one into the other unless it is held back. The
    gradient of `X` is written once, as one product for scores and values together.

    A memory of batch 1 is that of all rows of queries, and is read in one product.

    Args:
        queries: Float tensor `(batch, queries, width)`, scaled.
        memory: Float tensor `(batch or 1, length, width)`.
        mask: Bool tensor `(batch or 1, length)`, True where valid. Defaults to `None`.
        bias: Float tensor `(batch or 1, queries, length)`. Defaults to `None`.
        scale: Float32 tensor `(batch or 1, length)`. Defaults to `None`: 1.
        activation: `"softmax"`, or `"silu"`: `masked_silu` in its place. Defaults to `"softmax"`.

    Returns:
        Float tensor `(batch, queries, width)`; zeros where all of the memory is masked.
    """
    if activation == "softmax":
        if memory.shape[0] == 1 and queries.shape[0] != 1:
            return _pooling_of_one_memory(queries, memory, mask, bias, scale)
        if keras.backend.backend() == "jax":
            return _jax_pooling()(queries, memory, mask, bias, scale)
    scores = attention_scores(queries, memory, bias, scale)
    weights = WEIGHTS[activation](scores, None if mask is None else ops.expand_dims(mask, 1))
    return ops.matmul(ops.cast(weights, memory.dtype), memory)


def attention_scores(queries: Any, memory: Any, bias: Any = None, scale: Any = None) -> Any:
    """`Q X^T * scale + bias`, `(batch, queries, length)`."""
    scores = ops.matmul(queries, ops.swapaxes(memory, 1, 2))
    return _scaled_and_biased(scores, bias, scale)


def _scaled_and_biased(scores: Any, bias: Any, scale: Any) -> Any:
    """In float32, unless there is nothing to do."""
    if scale is not None:
        scores = ops.cast(scores, "float32") * ops.expand_dims(scale, 1)
    if bias is not None:
        scores = ops.cast(scores, "float32") + ops.cast(bias, "float32")
    return scores


def _pooling_of_one_memory(queries: Any, memory: Any, mask: Any, bias: Any, scale: Any) -> Any:
    """Products of two matrices, where a memory a row would have as many small products."""
    number, width = queries.shape[1:]
    tokens = memory[0]
    scores = ops.matmul(ops.reshape(queries, (-1, width)), ops.transpose(tokens))
    scores = ops.reshape(ops.cast(scores, "float32"), (-1, number, ops.shape(tokens)[0]))
    if mask is not None:
        mask = ops.expand_dims(mask, 1)
        padding = ops.where(mask, 0.0, NEVER)
        bias = padding if bias is None else ops.cast(bias, "float32") + padding
    scores = _scaled_and_biased(scores, bias, scale)
    # One softmax of the backend, in place of `masked_softmax`'s eight passes over the scores.
    weights = ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)
    weights = ops.reshape(ops.cast(weights, memory.dtype), (-1, ops.shape(tokens)[0]))
    pooled = ops.reshape(ops.matmul(weights, tokens), (-1, number, width))
    if mask is None:
        return pooled
    return pooled * ops.cast(ops.any(mask, axis=-1, keepdims=True), pooled.dtype)


@functools.cache
def _jax_pooling() -> Callable:
    import jax
    import jax.numpy as jnp

    def times_memory(queries: Any, memory: Any) -> Any:
        """`Q X^T`, computed as `X Q^T`."""
        product = jnp.matmul(memory, jnp.swapaxes(queries, 1, 2))
        return jnp.swapaxes(jax.lax.optimization_barrier(product), 1, 2)

    def forward(queries: Any, memory: Any, mask: Any, bias: Any, scale: Any) -> tuple[Any, tuple]:
        products = times_memory(queries, memory).astype("float32")
        scores = products if scale is None else products * scale[:, None]
        scores = scores if bias is None else scores + bias
        weights = masked_softmax(scores, None if mask is None else mask[:, None])
        weights = weights.astype(memory.dtype)
        pooled = jnp.matmul(weights, memory)
        kept = None if scale is None else products
        return pooled, (queries, memory, mask, bias, scale, kept, weights, pooled)

    def backward(saved: tuple, upstream: Any) -> tuple:
        queries, memory, mask, bias, scale, products, weights, pooled = saved
        of_weights = times_memory(upstream, memory).astype("float32")
        mean = jnp.sum(upstream * pooled, axis=-1, keepdims=True, dtype="float32")
        of_scores = weights * (of_weights - mean)
        of_bias = None if bias is None else _of_argument(of_scores, bias)
        of_scale = None
        if scale is not None:
            of_scale = _of_argument(jnp.sum(of_scores * products, axis=1), scale)
            of_scores = of_scores * scale[:, None]
        of_products = of_scores.astype(memory.dtype)
        left = jnp.swapaxes(jnp.concatenate([of_products, weights], axis=1), 1, 2)
        of_memory = jnp.matmul(left, jnp.concatenate([queries, upstream], axis=1))
        # JAX wants a gradient of this kind for booleans.
        of_mask = None if mask is None else np.zeros(mask.shape, jax.dtypes.float0)
        return jnp.matmul(of_products, memory), of_memory, of_mask, of_bias, of_scale

    def _of_argument(gradient: Any, argument: Any) -> Any:
        """Summed where the argument stands for all rows."""
        if argument.shape[0] == 1:
            gradient = jnp.sum(gradient, 0, keepdims=True)
        return gradient.astype(argument.dtype)

    pooling = jax.custom_vjp(lambda *arguments: forward(*arguments)[0])
    pooling.defvjp(forward, backward)
    return pooling
