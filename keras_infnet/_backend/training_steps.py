"""Steps of a model: by rows, by XLA where it is faster, on several devices."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.devices import scope_of
from keras_infnet._backend.evaluation_steps import evaluation_step, jax_test_function
from keras_infnet._backend.replicas import logs_of_replica
from keras_infnet._backend.row_training import train_step_by_rows
from keras_infnet._backend.steps_by_worth import StepsByWorth, with_steps_to_come
from keras_infnet._backend.tensorflow_internals import operations_are_deterministic
from keras_infnet._base.divergence_check import with_divergence_check
from keras_infnet._base.within_step import within_step
from keras_infnet._keras_internals import is_distributed, make_training_variables


class TrainingSteps(keras.Model):
    """A functional model with a dict of outputs, whose steps are ours.

    `xla_by_worth` says whether TensorFlow's steps are compiled by XLA where that pays and Keras
    would not do so, `balance` how the tasks' gradients are weighed; `compile` of the subclass sets
    them.
    """

    xla_by_worth = False
    balance: Any = None
    _runs_graph = True

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a loss that is NaN or infinite is a `FloatingPointError`."""
        given = with_divergence_check(super().fit, *args, **kwargs)
        return super().fit(**(with_steps_to_come(**given) if self._chooses_xla() else given))

    def train_step(self, *arguments: Any) -> Any:
        """One step of training; Keras calls it."""
        with within_step("train"):
            return logs_of_replica(train_step_by_rows(self, super().train_step, arguments))

    def test_step(self, *arguments: Any) -> Any:
        """One step of evaluation; Keras calls it."""
        by_xla = keras.backend.backend() == "tensorflow" and self.jit_compile
        return self._evaluate_step(arguments, bool(by_xla))

    def make_train_function(self, force: bool = False) -> Any:
        """The function of a training step; Keras calls it."""
        if self.train_function is not None and not force:
            return self.train_function
        chosen = self.jit_compile
        # XLA's programs reach the variables of one device alone.
        if not is_distributed(self) and keras.backend.backend() == "tensorflow":
            if not self.run_eagerly:
                self._build_training_state()
            if self._chooses_xla():
                self.train_function = StepsByWorth(self.train_step, trains=True)
                return self.train_function
            self.jit_compile = chosen or self.xla_by_worth
        try:
            return super().make_train_function(force)
        finally:
            self.jit_compile = chosen

    def make_test_function(self, force: bool = False) -> Any:
        """The function of a step of evaluation; Keras calls it."""
        if self.test_function is not None and not force:
            return self.test_function
        if keras.backend.backend() == "jax":
            self.test_function = jax_test_function(self)
            return None
        if self._chooses_xla():
            self.test_function = StepsByWorth(
                lambda batch, by_xla: self._evaluate_step((batch,), by_xla), compiles_itself=True
            )
            return self.test_function
        chosen = self.jit_compile
        # `evaluation_step` has all compiled but what hands rows to Python, which XLA can't.
        self.jit_compile = False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = chosen

    def make_predict_function(self, force: bool = False) -> Any:
        """The function of a step of prediction; Keras calls it."""
        if not self._chooses_xla():
            return super().make_predict_function(force)
        if self.predict_function is None or force:
            self.predict_function = StepsByWorth(self.predict_step)
        return self.predict_function

    def _chooses_xla(self) -> bool:
        """Whether steps begin without XLA and go on with it where that pays."""
        return (
            keras.backend.backend() == "tensorflow"
            and self.xla_by_worth
            and not (self.jit_compile or self.run_eagerly or is_distributed(self))
            # Keras takes several steps in one program.
            and self.steps_per_execution == 1
            and not operations_are_deterministic()
        )

    def _evaluate_step(self, arguments: tuple[Any, ...], by_xla: bool) -> Any:
        return logs_of_replica(evaluation_step(super().test_step, arguments, by_xla))

    def _build_training_state(self) -> None:
        """Variables of optimizer and metrics: a step that makes some is traced twice."""
        labels = {output: keras.KerasTensor((None, 1)) for output in self.output}
        make_training_variables(self, (dict(self.input), labels, None))

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # The outputs' shapes are known: a trace of the graph for them is time of the first step.
        self._runs_graph = False
        try:
            super()._symbolic_build(iterator, data_batch)
        finally:
            self._runs_graph = True

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._runs_graph:
            return super()._run_through_graph(inputs, *args, **kwargs)
        rows = ops.shape(keras.tree.flatten(inputs)[0])[0]
        return {k: ops.zeros((rows, *v.shape[1:]), v.dtype) for k, v in dict(self.output).items()}

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras takes the mean of the devices' batches, which fails for dicts on several workers.
        if is_distributed(self):
            with scope_of(self):
                self._build_training_state()
