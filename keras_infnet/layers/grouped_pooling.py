"""Sequence proxies: one token for each group of events."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer, joined


@keras.saving.register_keras_serializable(package="keras_infnet")
class GroupedPooling(ConfiguredLayer):
    """Pools the events of each group of each history into one proxy.

    With `n_f` the number of valid events of group `f`:

    - `"mean_log_count"`: `S~_f = W_f (sum_{l in f} S_l / max(n_f, 1)) + b_f + log1p(n_f)/2 * c_f`;
    - `"sum"` (version 1): `S~_f = sum_{l in f} (W S_l + b) = W (sum_{l in f} S_l) + n_f b`, one `W`
      for all groups; pooled before it is projected;
    - `"mean"` (version 2): `S~_f = W'_f mean_{l in f} relu(W_f S_l + b_f) + b'_f`, and 0 if the
      group is empty.

    Groups may overlap. Padding belongs to no group and adds nothing.

    Args:
        dim: Width of a proxy.
        pooling: `"mean_log_count"`, `"sum"` or `"mean"`. Defaults to `"mean_log_count"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, total length, width)`, histories side by side along time.
        groups: List with one tensor for each history, `(batch, groups of it, length of it)`: 1
            where the event belongs to the group, else 0.

    Returns:
        Float tensor `(batch, total groups, dim)`.

    Raises:
        ValueError: `dim` is below 1, `pooling` is unknown, or the lengths of `groups` don't add up.

    Example:
        >>> pooling = keras_infnet.layers.GroupedPooling(dim=8)
        >>> tokens = keras.ops.ones((2, 7, 4))
        >>> groups = [keras.ops.ones((2, 3, 5)), keras.ops.ones((2, 1, 2))]
        >>> tuple(pooling(tokens, groups).shape)
        (2, 4, 8)

    Reference:
        Li et al., INFNet, arXiv:2508.11565, sequence proxies; `"mean_log_count"` is our choice.
    """

    def __init__(
        self,
        dim: int,
        pooling: Literal["mean_log_count", "sum", "mean"] = "mean_log_count",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if dim < 1 or pooling not in ("mean_log_count", "sum", "mean"):
            raise ValueError(
                '`dim` must be 1 or more, and `pooling` "mean_log_count", "sum" or "mean". '
                f"Received: {dim=}, {pooling=}"
            )
        self.dim = dim
        self.pooling = pooling

    def build(self, tokens_shape: tuple, groups_shape: Sequence[tuple]) -> None:
        width, num_groups = tokens_shape[-1], sum(shape[1] for shape in groups_shape)
        lengths = [shape[2] for shape in groups_shape]
        if None not in (*lengths, tokens_shape[1]) and sum(lengths) != tokens_shape[1]:
            raise ValueError(
                f"Layer `{self.name}`: `groups` cover {lengths} positions; expected "
                f"{tokens_shape[1]} in all, those of `tokens`."
            )
        if self.pooling == "sum":
            self.kernel = self.add_weight((width, self.dim), "glorot_uniform", name="kernel")
            self.bias = self.add_weight((self.dim,), "zeros", name="bias")
            return
        hidden = self.dim if self.pooling == "mean" else width
        self.kernel = self._glorot("kernel", (num_groups, hidden, self.dim))
        self.bias = self.add_weight((num_groups, self.dim), "zeros", name="bias")
        if self.pooling == "mean_log_count":
            self.count_weight = self.add_weight(
                (num_groups, self.dim), keras.initializers.RandomNormal(stddev=0.01), name="count"
            )
        else:
            self.hidden_kernel = self._glorot("hidden_kernel", (num_groups, width, hidden))
            self.hidden_bias = self.add_weight((num_groups, hidden), "zeros", name="hidden_bias")

    def call(self, tokens: Any, groups: Sequence[Any]) -> Any:
        groups = [ops.cast(g, self.compute_dtype) for g in groups]
        counts = ops.concatenate([ops.sum(ops.cast(g, "float32"), -1) for g in groups], axis=1)
        counts = ops.expand_dims(counts, -1)
        if self.pooling == "sum":
            total = ops.matmul(ops.matmul(over_all_histories(groups), tokens), self.kernel)
            return total + ops.cast(counts, self.compute_dtype) * self.bias
        inverse = ops.cast(1 / ops.maximum(counts, 1), self.compute_dtype)
        if self.pooling == "mean":
            hidden = self._hidden_sums(tokens, groups) * inverse
            proxies = matmul_per_group(hidden, self.kernel) + self.bias
            return proxies * ops.cast(counts > 0, self.compute_dtype)
        means = ops.matmul(over_all_histories(groups), tokens) * inverse
        log_counts = ops.cast(ops.log1p(counts) / 2, self.compute_dtype)
        return matmul_per_group(means, self.kernel) + self.bias + log_counts * self.count_weight

    def compute_output_shape(self, tokens_shape: tuple, groups_shape: Sequence[tuple]) -> tuple:
        return (tokens_shape[0], sum(shape[1] for shape in groups_shape), self.dim)

    def _hidden_sums(self, tokens: Any, groups: Sequence[Any]) -> Any:
        sums, start = [], 0
        for group in groups:
            length = ops.shape(group)[2]
            part = tokens if len(groups) == 1 else tokens[:, start : start + length]
            start += length
            for g in range(group.shape[1]):
                kernel, bias = self.hidden_kernel[len(sums)], self.hidden_bias[len(sums)]
                hidden = ops.relu(ops.matmul(part, kernel) + bias)
                sums.append(ops.matmul(group[:, g : g + 1], hidden))
        return joined(sums)


def over_all_histories(groups: Sequence[Any]) -> Any:
    """Groups `(batch, total groups, total length)`, 0 where another history lies.

    One product over all histories is faster than one for each: slices of tokens would be copied.
    """
    rows = []
    for i, group in enumerate(groups):
        # Not `ops.pad`: lengths may be known at run time alone.
        nothing = ops.zeros_like(group[:, :, :1])
        parts = [nothing * ops.zeros_like(other[:, :1]) for other in groups]
        rows.append(joined([*parts[:i], group, *parts[i + 1 :]], axis=2))
    return joined(rows)


def matmul_per_group(inputs: Any, kernels: Any) -> Any:
    """`(batch, groups, i)` times `(groups, i, o)`, group by group: `(batch, groups, o)`."""
    return ops.swapaxes(ops.matmul(ops.swapaxes(inputs, 0, 1), kernels), 0, 1)
