"""Proxy objective: proxies must know their example's tokens, and not each say the same."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer

# Scores of rows that are no negatives; a squared norm below which a proxy has no direction.
_LEFT_OUT, _NO_NORM = -1e30, 1e-12


@keras.saving.register_keras_serializable(package="keras_infnet")
class ProxyObjective(ConfiguredLayer):
    """Adds a loss by which proxies keep what tells their tokens from those of other examples.

    `loss = weight * (-I + redundancy_weight * R)`, in training alone; the proxies pass through
    unchanged. Both terms are computed in float32.

    `I = log B + mean_b log softmax_{b'}(p_b W t_{b'}^T / temperature)_{b' = b}`, with `p_b` and
    `t_b` the means of the example's proxies and of its tokens, and a learned `W (dim, token dim)`.
    It is a lower bound, in nats, of what `p` tells about `t`, and at most `log B`. The negatives
    of an example are the tokens of the other examples of the batch (of several replicas on
    TensorFlow, those of its replica), so that scores are `(batch, batch)`.

    `R` is the mean of `cos(p_i, p_j)^2` over pairs `i != j` of an example's proxies, and over
    examples. A proxy of norm 0 has a cosine of 0 to all, and one proxy alone has no `R`.

    Examples whose tokens are all padding take no part: `B` counts the others, and with fewer than
    two of them `I` is 0 and has no gradient.

    Args:
        weight: Factor of the loss.
        redundancy_weight: Factor of `R` within it. Defaults to `1.0`.
        temperature: Divisor of the scores. Defaults to `0.1`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        proxies: Float tensor `(batch, number, dim)`.
        tokens: Float tensor `(batch, length, token dim)`, which the proxies stand for.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Defaults to `None`: all tokens are valid.
        training: Whether the loss is added. Then `figures` are its `(I, R)`, which our models show
            in the logs of `fit` as `proxy_information` and `proxy_redundancy`.

    Returns:
        The proxies.

    Raises:
        ValueError: `weight` or `temperature` is not positive, `redundancy_weight` is below 0, or
            the number of proxies is not known.

    Example:
        >>> layer = keras_infnet.layers.ProxyObjective(weight=0.5)
        >>> proxies, tokens = keras.ops.ones((4, 2, 3)), keras.ops.ones((4, 5, 3))
        >>> _ = layer(proxies, tokens, training=True)
        >>> round(float(layer.losses[0]), 4)  # I = 0 and R = 1
        0.5

    Reference:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding,
        arXiv:1807.03748, the bound `I` (InfoNCE). `R` and the sum are those of the guide to INFNet.
    """

    # `figures`, as our models show them.
    figure_names = ("proxy_information", "proxy_redundancy")
    # For who computes one user's part once: without training only proxies are read.
    takes_shared_rows = True
    # For who asks which task reads which weights: the output is the first input.
    passes_through = True

    def __init__(
        self,
        weight: float,
        redundancy_weight: float = 1.0,
        temperature: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not (weight > 0 and temperature > 0 and redundancy_weight >= 0):
            raise ValueError(
                "`weight` and `temperature` must be above 0, and `redundancy_weight` 0 or more. "
                f"Received: {weight=}, {temperature=}, {redundancy_weight=}"
            )
        self.supports_masking = True
        self.weight = weight
        self.redundancy_weight = redundancy_weight
        self.temperature = temperature
        self.figures: tuple[Any, Any] | None = None

    def build(self, proxies_shape: tuple, tokens_shape: tuple) -> None:
        if proxies_shape[1] is None:
            raise ValueError(
                f"Layer `{self.name}`: proxies of shape {tuple(proxies_shape)}; expected a known "
                "number of them."
            )
        # float32 in half precision too, as all of the loss.
        shape = (proxies_shape[-1], tokens_shape[-1])
        self.kernel = self.add_weight(shape, "glorot_uniform", name="kernel", autocast=False)

    def call(
        self, proxies: Any, tokens: Any, tokens_mask: Any = None, training: bool | None = None
    ) -> Any:
        self.figures = self._figures(proxies, tokens, tokens_mask) if training else None
        if self.figures is not None:
            information, redundancy = self.figures
            self.add_loss(self.weight * (self.redundancy_weight * redundancy - information))
        return proxies

    def compute_output_shape(self, proxies_shape: tuple, tokens_shape: tuple) -> tuple:
        return proxies_shape

    def _figures(self, proxies: Any, tokens: Any, tokens_mask: Any) -> tuple[Any, Any]:
        proxies, tokens = ops.cast(proxies, "float32"), ops.cast(tokens, "float32")
        if tokens_mask is None:
            tokens_mask = ops.ones(ops.shape(tokens)[:2], "bool")
        valid = ops.cast(tokens_mask, "bool")
        events = ops.sum(ops.cast(valid, "float32"), axis=1)
        # Padding may hold anything.
        sums = ops.sum(ops.where(valid[:, :, None], tokens, 0.0), axis=1)
        means = sums / ops.maximum(events, 1.0)[:, None]
        there = events > 0
        information = self._information(ops.mean(proxies, axis=1), means, there)
        return information, self._redundancy(proxies, there)

    def _information(self, proxies: Any, tokens: Any, there: Any) -> Any:
        scores = ops.matmul(ops.matmul(proxies, self.kernel), ops.transpose(tokens))
        scores = ops.where(there[None], scores / self.temperature, _LEFT_OUT)
        of_rows = ops.diagonal(scores) - ops.logsumexp(scores, axis=1)
        number = ops.maximum(ops.sum(ops.cast(there, "float32")), 1.0)
        return ops.log(number) + _mean_of(of_rows, there)

    def _redundancy(self, proxies: Any, there: Any) -> Any:
        number = proxies.shape[1]
        if number == 1:
            return ops.zeros(())
        squares = ops.sum(ops.square(proxies), axis=-1, keepdims=True)
        units = proxies * ops.rsqrt(ops.maximum(squares, _NO_NORM))
        cosines = ops.matmul(units, ops.swapaxes(units, 1, 2)) * (1 - np.eye(number, dtype="f4"))
        pairs = number * (number - 1)
        return _mean_of(ops.sum(ops.square(cosines), axis=(1, 2)) / pairs, there)


def _mean_of(of_rows: Any, there: Any) -> Any:
    """The mean over the rows that are there; 0 if there is none."""
    number = ops.maximum(ops.sum(ops.cast(there, "float32")), 1.0)
    return ops.sum(ops.where(there, of_rows, 0.0)) / number
