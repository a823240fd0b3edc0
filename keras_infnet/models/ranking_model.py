"""What all models have in common: losses, metrics, training step and config."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.replicas import first_replica_batch, logs_of_replica
from keras_infnet._backend.row_training import loss_scale_by_rows, train_step_by_rows
from keras_infnet._keras_internals import is_distributed, make_training_variables
from keras_infnet.schema.schema import FeatureSchema

# Rare labels have small probabilities: with 200 thresholds most of theirs fall into a few steps.
_AUC_THRESHOLDS = 1000


class RankingModel(keras.Model):
    """A functional model from a schema's packed inputs to one output a task.

    Models derive from it: their `__init__` makes the graph and passes inputs, outputs and its own
    arguments here.

    Args:
        schema: A fitted schema.
        inputs: Dict of the packed inputs.
        outputs: Dict of outputs by task name.
        hyperparameters: What the model's constructor was given besides, from
            `constructor_arguments`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).
    """

    def __init__(
        self,
        schema: FeatureSchema,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs=dict(inputs), outputs=dict(outputs), **kwargs)
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self._schema = schema
        self._hyperparameters = dict(hyperparameters)

    @property
    def schema(self) -> FeatureSchema:
        """The schema that the model was built from."""
        return self._schema

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Arguments of the constructor besides schema, dtype and name."""
        return dict(self._hyperparameters)

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training; losses and metrics come from the schema unless they are given.

        Metrics are weighted, so that an unobserved label, whose sample weight is 0, counts in
        neither loss nor metric.

        Args:
            optimizer: Keras optimizer or its name. `SparseAdagrad`, `LazyAdam` and `LazyAdamW`
                update large embedding tables by rows; Keras's own read and write all rows in every
                step. Defaults to `"adam"`.
            loss: Defaults to `None`: binary cross entropy, or squared error for regression.
            loss_weights: Dict of weights by task; with `loss=None` a task that it lacks has its
                `loss_weight`. Defaults to `None`: all have.
            weighted_metrics: Defaults to `None`: `auc`, or `mse` for regression.
            jit_compile: Defaults to `"auto"`: as Keras chooses, but on TensorFlow without a GPU the
                training step is compiled by XLA too, where it takes a half to a third of the time.
                Not within a `tf.distribute` strategy, whose steps XLA can't compile.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: `loss_weights` names an unknown task.
        """
        tasks = self._schema.tasks
        if loss is None:
            loss = {t.name: _LOSSES[t.kind] for t in tasks}
            loss_weights = self._loss_weights(loss_weights)
        if weighted_metrics is None:
            weighted_metrics = {t.name: [_metric(t.kind)] for t in tasks}
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            weighted_metrics=weighted_metrics,
            jit_compile=jit_compile,
            **kwargs,
        )
        self._trains_by_xla = jit_compile == "auto"
        self.optimizer = loss_scale_by_rows(self.optimizer, self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean over members of each one's own loss; Keras calls it."""
        members = self.hyperparameters.get("members", 1) if training else 1
        if members > 1:
            y, sample_weight = (
                keras.tree.map_structure(lambda rows: _repeated(rows, members), part)
                for part in (y, sample_weight)
            )
            y_pred = {t: ops.reshape(ops.transpose(p), (-1, 1)) for t, p in y_pred.items()}
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Metrics of the members' mean; Keras calls it."""
        means = {t: ops.mean(p, axis=-1, keepdims=True) for t, p in y_pred.items()}
        return super().compute_metrics(x, y, means, sample_weight)

    def get_compile_config(self) -> dict[str, Any] | None:
        """How the model was compiled, and whether it has been trained since."""
        config = super().get_compile_config()
        return config and {**config, "trained": self.optimizer.built}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was, so that training goes on where it stopped."""
        trained = config.pop("trained", True)
        self.compile(**keras.saving.deserialize_keras_object(config))
        # An optimizer that was saved before its first step has no variables to load.
        if trained:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, *arguments: Any) -> Any:
        """One step of training; Keras calls it."""
        return logs_of_replica(train_step_by_rows(self, super().train_step, arguments))

    def test_step(self, *arguments: Any) -> Any:
        """One step of evaluation; Keras calls it."""
        return logs_of_replica(super().test_step(*arguments))

    def make_train_function(self, force: bool = False) -> Any:
        """The function of a training step; Keras calls it."""
        chosen = self.jit_compile
        # XLA's programs reach the variables of one device alone.
        distributed = is_distributed(self)
        if not distributed and keras.backend.backend() == "tensorflow":
            self.jit_compile = self._trains_by_xla or chosen
            if not self.run_eagerly:
                self._build_training_state()
        try:
            return super().make_train_function(force)
        finally:
            self.jit_compile = chosen

    def _loss_weights(self, given: Any) -> Any:
        if given is not None and not isinstance(given, Mapping):
            return given
        given = given or {}
        for name in given:
            self._schema.task(name)
        return {t.name: given.get(t.name, t.loss_weight) for t in self._schema.tasks}

    def _build_training_state(self) -> None:
        """Variables of optimizer and metrics: a step that makes some is traced twice."""
        labels = {task: keras.KerasTensor((None, 1)) for task in self.schema.task_names}
        make_training_variables(self, (dict(self.input), labels, None))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None and is_distributed(self):
            iterator, data_batch = None, first_replica_batch(self, iterator)
        super()._maybe_symbolic_build(iterator, data_batch)

    def get_config(self) -> dict[str, Any]:
        """Schema, hyperparameters, name and dtype."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in self.hyperparameters.items()}
        return {
            **plain,
            "schema": self._schema.to_dict(),
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "RankingModel":
        """The model that `get_config` described."""
        config = dict(config)
        schema = FeatureSchema.from_dict(config.pop("schema"))
        dtype = config.pop("dtype", None)
        if isinstance(dtype, dict):
            dtype = keras.dtype_policies.deserialize(dtype)
        return cls(schema, dtype=dtype, **config)


_LOSSES = {"binary": "binary_crossentropy", "regression": "mean_squared_error"}


def _metric(kind: str) -> keras.metrics.Metric:
    if kind == "regression":
        return keras.metrics.MeanSquaredError(name="mse")
    return keras.metrics.AUC(num_thresholds=_AUC_THRESHOLDS, name="auc")


def _repeated(rows: Any, members: int) -> Any:
    """The rows once for each member, one member after the other."""
    return None if rows is None else ops.concatenate([rows] * members, axis=0)
