"""Proxies of a task's own and shared ones, combined by what the task needs."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.attention_pooling import (
    NEVER,
    attention_pooling,
    attention_scores,
    masked_softmax,
)
from keras_infnet._backend.project import project
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class ProxyCombination(ConfiguredLayer):
    """Combines for each task the proxies of its own and the shared ones into one token.

    `z_i = sum_k softmax_k(q_i . k_k / sqrt(d)) p_k` over the proxies `p` of `[P_i; T~]`, with
    `q_i = T_i W_q` and `k_k = p_k W_k`; `W_q` and `W_k` are `(d, d)`, one for all tasks. All tasks
    are computed at once: a proxy that is another task's own gets no weight. The softmax is in
    float32.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tasks: Float tensor `(batch, tasks, d)`, `T`.
        own: Float tensor `(batch, tasks * m, d)`: `m` proxies of each task, those of the first
            task first.
        shared: Float tensor `(batch, s, d)`, `T~`. Defaults to `None`: there are none.

    Returns:
        Float tensor `(batch, tasks, d)`, `z`.

    Raises:
        ValueError: `own` has not equally many proxies for each task.

    Example:
        >>> tasks, own = keras.ops.ones((2, 3, 8)), keras.ops.ones((2, 6, 8))
        >>> combination = keras_infnet.layers.ProxyCombination()
        >>> tuple(combination(tasks, own, keras.ops.ones((2, 4, 8))).shape)
        (2, 3, 8)

    Reference:
        The guide to INFNet of Li et al., arXiv:2508.11565. One `W_q` and one `W_k`, and no bias:
        our choice.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, tasks_shape: tuple, own_shape: tuple) -> None:
        if own_shape[1] == 0 or own_shape[1] % tasks_shape[1]:
            raise ValueError(
                f"Layer `{self.name}`: `own` has {own_shape[1]} proxies for {tasks_shape[1]} "
                "tasks; expected equally many of each task."
            )
        width, proxy_width = tasks_shape[-1], own_shape[-1]
        self.query_kernel = self._kernel("query_kernel", width, proxy_width)
        self.key_kernel = self._kernel("key_kernel", proxy_width, proxy_width)

    def call(self, tasks: Any, own: Any, shared: Any = None) -> Any:
        proxies, bias = _beside(own, shared), _bias(tasks, own, shared)
        return attention_pooling(self._queries(tasks), proxies, bias=bias)

    def attention_weights(self, tasks: Any, own: Any, shared: Any = None) -> Any:
        """The weights of the sum.

        Args:
            tasks: As in `call`.
            own: As in `call`.
            shared: As in `call`. Defaults to `None`.

        Returns:
            Float32 tensor `(batch, tasks, m + s)`, a task's own proxies first; rows sum to 1.
        """
        proxies, number, of_all = _beside(own, shared), tasks.shape[1], own.shape[1]
        scores = attention_scores(self._queries(tasks), proxies, _bias(tasks, own, shared))
        weights = masked_softmax(scores)
        # Of another task's proxies the weights are 0.
        apart = ops.reshape(weights[..., :of_all], (-1, number, number, of_all // number))
        return ops.concatenate([ops.sum(apart, axis=2), weights[..., of_all:]], axis=-1)

    def compute_output_shape(self, tasks_shape: tuple, own_shape: tuple) -> tuple:
        return (*tasks_shape[:-1], own_shape[-1])

    def _kernel(self, name: str, rows: int, columns: int) -> Any:
        return self.add_weight((rows, columns), "glorot_uniform", name=name)

    def _queries(self, tasks: Any) -> Any:
        """`T W_q W_k^T / sqrt(d)`: keys are never computed."""
        absorbed = ops.matmul(self.query_kernel, ops.transpose(self.key_kernel))
        return project(tasks, absorbed * self.key_kernel.shape[-1] ** -0.5)


def _beside(own: Any, shared: Any) -> Any:
    return own if shared is None else ops.concatenate([own, shared], axis=1)


def _bias(tasks: Any, own: Any, shared: Any) -> np.ndarray:
    """`(1, tasks, proxies)`: 0 for what a task reads, so low for the rest that it has no weight."""
    number = tasks.shape[1]
    reads = np.repeat(np.eye(number), own.shape[1] // number, axis=1)
    if shared is not None:
        reads = np.concatenate([reads, np.ones((number, shared.shape[1]))], axis=1)
    return np.where(reads, 0, NEVER).astype("float32")[None]
