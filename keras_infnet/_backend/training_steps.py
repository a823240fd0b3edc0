"""Steps of a model: by rows, by XLA where it is faster, on several devices."""

from typing import Any

import keras

from keras_infnet._backend.evaluation_steps import evaluation_step, jax_test_function
from keras_infnet._backend.replicas import first_replica_batch, logs_of_replica
from keras_infnet._backend.row_training import train_step_by_rows
from keras_infnet._base.divergence_check import with_divergence_check
from keras_infnet._base.within_step import within_step
from keras_infnet._keras_internals import is_distributed, make_training_variables


class TrainingSteps(keras.Model):
    """A functional model with a dict of outputs, whose steps are ours.

    `trains_by_xla` says whether TensorFlow's training step is compiled by XLA where Keras would not
    do so, `balance` how the tasks' gradients are weighed; `compile` of the subclass sets them.
    """

    trains_by_xla = False
    balance: Any = None

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a loss that is NaN or infinite is a `FloatingPointError`."""
        return super().fit(**with_divergence_check(super().fit, *args, **kwargs))

    def train_step(self, *arguments: Any) -> Any:
        """One step of training; Keras calls it."""
        with within_step("train"):
            return logs_of_replica(train_step_by_rows(self, super().train_step, arguments))

    def test_step(self, *arguments: Any) -> Any:
        """One step of evaluation; Keras calls it."""
        by_xla = keras.backend.backend() == "tensorflow" and self.jit_compile
        return logs_of_replica(evaluation_step(super().test_step, arguments, bool(by_xla)))

    def make_train_function(self, force: bool = False) -> Any:
        """The function of a training step; Keras calls it."""
        chosen = self.jit_compile
        # XLA's programs reach the variables of one device alone.
        distributed = is_distributed(self)
        if not distributed and keras.backend.backend() == "tensorflow":
            self.jit_compile = self.trains_by_xla or chosen
            if not self.run_eagerly:
                self._build_training_state()
        try:
            return super().make_train_function(force)
        finally:
            self.jit_compile = chosen

    def make_test_function(self, force: bool = False) -> Any:
        """The function of a step of evaluation; Keras calls it."""
        if keras.backend.backend() == "jax":
            if force or self.test_function is None:
                self.test_function = jax_test_function(self)
            return None
        chosen = self.jit_compile
        # `evaluation_step` has all compiled but what hands rows to Python, which XLA can't.
        self.jit_compile = False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = chosen

    def _build_training_state(self) -> None:
        """Variables of optimizer and metrics: a step that makes some is traced twice."""
        labels = {output: keras.KerasTensor((None, 1)) for output in self.output}
        make_training_variables(self, (dict(self.input), labels, None))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None and is_distributed(self):
            iterator, data_batch = None, first_replica_batch(self, iterator)
        super()._maybe_symbolic_build(iterator, data_batch)
