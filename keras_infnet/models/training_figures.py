"""Training figures: what layers tell of a batch beside their loss, in the logs of `fit`."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.traced import is_traced
from keras_infnet._base.within_step import step_now
from keras_infnet._keras_internals import layers_inside
from keras_infnet.layers.proxy_objective import ProxyObjective

_NAMES = ("proxy_information", "proxy_redundancy")


class TrainingFigures:
    """Means over the batches of training, and over all proxy objectives of a model.

    Evaluations leave them out: layers tell them in training alone, as they add their loss.

    Args:
        model: A functional model; without a `ProxyObjective` in it there are no figures.
    """

    def __init__(self, model: keras.Model) -> None:
        found = layers_inside(model)
        self._layers = [layer for layer in found if isinstance(layer, ProxyObjective)]
        self.metrics = [_OfTraining(name=name) for name in _NAMES] if self._layers else []

    def update(self, rows: Any) -> None:
        """Counts the last batch, of so many rows; within the step, whose tensors they are."""
        for layer in self._layers:
            for metric, value in zip(self.metrics, layer.figures or (), strict=False):
                metric.update_state(value, sample_weight=rows)


class _OfTraining(keras.metrics.Mean):
    """A mean that has no result where no batch was counted, instead of 0."""

    def result(self) -> Any:
        step, count = step_now(), ops.convert_to_tensor(self.count)
        if step is None and not is_traced([count]):
            step = "train" if float(count) else None
        return {self.name: super().result()} if step == "train" else {}
