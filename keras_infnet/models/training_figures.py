"""Training figures: what layers tell of a batch beside their loss, in the logs of `fit`."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.traced import is_traced
from keras_infnet._base.within_step import step_now
from keras_infnet._keras_internals import layers_inside


class TrainingFigures:
    """Means over the batches of training, and over all layers that tell a figure.

    A layer tells the `figures` of its last call in training, by its `figure_names`. Evaluations
    leave them out, as they leave out the losses that such layers add.

    Args:
        model: A functional model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers: list[Any] = [x for x in layers_inside(model) if hasattr(x, "figure_names")]
        names = dict.fromkeys(name for layer in self._layers for name in layer.figure_names)
        self._by_name = {name: _OfTraining(name=name) for name in names}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """A metric for each figure."""
        return list(self._by_name.values())

    def update(self, rows: Any) -> None:
        """Counts the last batch, of so many rows; within the step, whose tensors they are."""
        for layer in self._layers:
            if layer.figures is not None:
                for name, value in zip(layer.figure_names, layer.figures, strict=True):
                    self._by_name[name].update_state(value, sample_weight=rows)


class _OfTraining(keras.metrics.Mean):
    """A mean that has no result where no batch was counted, instead of 0."""

    def result(self) -> Any:
        # A tensor, even where each of several devices has a count of its own.
        step, count = step_now(), ops.sum(self.count)
        if step is None and not is_traced([count]):
            step = "train" if float(count) else None
        return {self.name: super().result()} if step == "train" else {}
