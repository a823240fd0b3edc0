"""Sequence proxies that adapt: what user and context look for in each group of events."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import (
    NEVER,
    attention_pooling,
    attention_scores,
    masked_softmax,
)
from keras_infnet.layers.configured_layer import ConfiguredLayer
from keras_infnet.layers.grouped_pooling import over_all_histories


@keras.saving.register_keras_serializable(package="keras_infnet")
class GroupedAttentionPooling(ConfiguredLayer):
    """Pools the events of each group of each history into one proxy, by attention of a seed.

    `S~_f = softmax(s_f S^T / sqrt(d)) S` over the events of group `f`, with the seed `s_f = W_f
    context + b_f`, and 0 if the group is empty. Without context the seeds are the learned vectors
    `b_f`. All groups of all histories share one product with `S`. The softmax is in float32.

    Groups may overlap. Padding belongs to no group and has no weight.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, total length, d)`, histories side by side along time, `S`.
        groups: List with one tensor for each history, `(batch, groups of it, length of it)`: 1
            where the event belongs to the group, else 0.
        context: Float tensor `(batch, context width)`. Defaults to `None`: there is none.

    `tokens` and `groups` may have a batch of 1, which stands for all rows of `context`.

    Returns:
        Float tensor `(batch, total groups, d)`.

    Example:
        >>> pooling = keras_infnet.layers.GroupedAttentionPooling()
        >>> tokens, context = keras.ops.ones((2, 7, 4)), keras.ops.ones((2, 6))
        >>> groups = [keras.ops.ones((2, 3, 5)), keras.ops.ones((2, 1, 2))]
        >>> tuple(pooling(tokens, groups, context).shape)
        (2, 4, 4)

    Reference:
        The guide to INFNet of Li et al., arXiv:2508.11565.
    """

    takes_shared_rows = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(
        self,
        tokens_shape: tuple,
        groups_shape: Sequence[tuple],
        context_shape: tuple | None = None,
    ) -> None:
        self.num_groups = sum(shape[1] for shape in groups_shape)
        width = tokens_shape[-1]
        self.kernel = None
        if context_shape is not None:
            shape = (context_shape[-1], self.num_groups * width)
            self.kernel = self._glorot("kernel", shape, columns=width)
        self.bias = self.add_weight((self.num_groups, width), "zeros", name="bias")

    def call(self, tokens: Any, groups: Sequence[Any], context: Any = None) -> Any:
        there = over_all_histories([ops.cast(g, "float32") for g in groups])
        seeds = self._seeds(tokens, context)
        pooled = attention_pooling(seeds, tokens, bias=(1 - there) * NEVER)
        # Of an empty group all events have weight.
        return pooled * ops.cast(ops.max(there, axis=-1, keepdims=True), pooled.dtype)

    def attention_weights(self, tokens: Any, groups: Sequence[Any], context: Any = None) -> Any:
        """The weight of each event in the proxy of each group.

        Args:
            tokens: As in `call`.
            groups: As in `call`.
            context: As in `call`. Defaults to `None`.

        Returns:
            Float32 tensor `(batch, total groups, total length)`; rows sum to 1, or are 0 where the
            group is empty.
        """
        there = over_all_histories([ops.cast(g, "float32") for g in groups])
        return masked_softmax(attention_scores(self._seeds(tokens, context), tokens), there > 0)

    def compute_output_shape(self, tokens_shape: tuple, groups_shape: Sequence[tuple]) -> tuple:
        return (tokens_shape[0], sum(shape[1] for shape in groups_shape), tokens_shape[-1])

    def _seeds(self, tokens: Any, context: Any) -> Any:
        """`s_f / sqrt(d)`, `(batch, groups, d)`."""
        bias = ops.cast(self.bias, self.compute_dtype)
        shape = tuple(bias.shape)
        if context is None:
            seeds = ops.broadcast_to(bias, (ops.shape(tokens)[0], *shape))
        else:
            seeds = ops.reshape(ops.matmul(context, self.kernel), (-1, *shape)) + bias
        return seeds * shape[-1] ** -0.5
