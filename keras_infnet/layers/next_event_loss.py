"""Next event loss, DIEN's auxiliary loss: states must know the next event from another."""

from typing import Any

import keras
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class NextEventLoss(ConfiguredLayer):
    """Adds a loss by which states `h_t` tell the next event from one of another example.

    `loss = -mean_t (log sigmoid(h_t e_{t+1}) + log(1 - sigmoid(h_t e'_{t+1})))` times `weight`,
    where `e'` are the events that stand at the same place in the example `shift` rows before: our
    choice, the authors sample items that were not clicked. Pairs count where `t`, `t + 1` and the
    negative are events. A batch of `shift` rows or fewer has itself for negatives. The loss is only
    there in training; the states pass through unchanged.

    Args:
        weight: Factor of the loss.
        shift: Rows between an example and the one whose events are its negatives: 1, or the number
            of histories where histories are rows of the batch. Defaults to `1`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        states: Float tensor `(batch, length, dim)`.
        tokens: Float tensor `(batch, length, dim)`, the events `e`.
        tokens_mask: Bool tensor `(batch, length)`, True where valid; Keras fills it from `tokens`.
            Defaults to `None`: all tokens are valid.
        training: Whether the loss is added.

    Returns:
        The states.

    Raises:
        ValueError: `weight` is not positive, `shift` is below 1, or states and tokens have
            different shapes.

    Example:
        >>> layer = keras_infnet.layers.NextEventLoss(weight=1.0)
        >>> states, tokens = keras.ops.zeros((2, 3, 4)), keras.ops.ones((2, 3, 4))
        >>> _ = layer(states, tokens, training=True)
        >>> round(float(layer.losses[0]), 4)  # 2 log(2)
        1.3863

    Reference:
        Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019,
        arXiv:1809.03672, interest extractor layer. The inner product is the paper's; the authors'
        code has an MLP on `[h_t; e_{t+1}]`.
    """

    def __init__(self, weight: float, shift: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if weight <= 0 or shift < 1:
            raise ValueError(
                f"`weight` must be above 0, and `shift` 1 or more. Received: {weight=}, {shift=}"
            )
        self.supports_masking = True
        self.weight = weight
        self.shift = shift

    def build(self, states_shape: tuple, tokens_shape: tuple) -> None:
        if tuple(states_shape[1:]) != tuple(tokens_shape[1:]):
            raise ValueError(
                f"Layer `{self.name}`: states of shape {tuple(states_shape)}; expected that of the "
                f"tokens, {tuple(tokens_shape)}."
            )

    def call(
        self, states: Any, tokens: Any, tokens_mask: Any = None, training: bool | None = None
    ) -> Any:
        if training and states.shape[1] != 1:
            self.add_loss(self.weight * self._mean_loss(states, tokens, tokens_mask))
        return states

    def compute_output_shape(self, states_shape: tuple, tokens_shape: tuple) -> tuple:
        return states_shape

    def _mean_loss(self, states: Any, tokens: Any, tokens_mask: Any) -> Any:
        states = ops.cast(states[:, :-1], "float32")
        positives = ops.cast(tokens[:, 1:], "float32")
        negatives = ops.roll(positives, self.shift, axis=0)
        losses = ops.softplus(-ops.sum(states * positives, axis=-1))
        losses = losses + ops.softplus(ops.sum(states * negatives, axis=-1))
        if tokens_mask is None:
            return ops.mean(losses)
        valid = ops.cast(tokens_mask, "float32")
        pairs = valid[:, :-1] * valid[:, 1:] * ops.roll(valid[:, 1:], self.shift, axis=0)
        return ops.sum(losses * pairs) / ops.maximum(ops.sum(pairs), 1.0)
