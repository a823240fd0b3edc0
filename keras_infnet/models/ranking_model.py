"""RankingModel: inputs, members, heads, losses, metrics, steps and config of all models."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.row_training import loss_scale_by_rows
from keras_infnet._backend.training_steps import TrainingSteps
from keras_infnet._base.layer_states import copy_layer_states, layer_states, restore_layer_states
from keras_infnet._keras_internals import (
    compiled_losses,
    has_schedule,
    is_distributed,
    layers_inside,
)
from keras_infnet.balances.in_use import BalanceInUse, balance_of
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.layers.task_head import TaskHead
from keras_infnet.losses.list_loss import ListLoss
from keras_infnet.models.config import ModelConfig
from keras_infnet.models.embedded_inputs import EmbeddedInputs, model_inputs, placeholders
from keras_infnet.models.growth import grown
from keras_infnet.models.list_labels import labels_with_lists, without_fill, without_lists
from keras_infnet.models.tokens import Tokens, check_event_context
from keras_infnet.models.training_figures import TrainingFigures
from keras_infnet.schema.compile_arguments import (
    list_losses_of,
    losses_by_task,
    metrics_by_task,
    weights_by_task,
)
from keras_infnet.schema.input_checks import check_inputs
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.task import Task

_ROWS = "embedded_inputs"
# Says of an output the model whose graph it comes of, for a clone.
_SOURCE = "ranking_model"
_QUANTIZATION = ("int8", "int4")


class RankingModel(TrainingSteps):
    """A functional model from a schema's packed inputs to one output a task.

    A model is a `Config`, an equation and `network`, from tokens to what the head of each task
    reads. `members` networks that differ in their random start alone have a loss each, and their
    outputs are averaged.

    Args:
        schema: A fitted schema.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **arguments: Those of the model's `Config`.

    Returns:
        Dict `{task: (batch, units)}` in float32, of width 1 for a probability or a value.

    Raises:
        ValueError: `schema` is no fitted schema, or an argument is unknown, of another kind than
            it should be, or out of range.

    Example:
        ```python
        @keras.saving.register_keras_serializable()
        class Linear(RankingModel):
            @staticmethod
            def network(tokens, config):
                return dict.fromkeys(tokens.task_names, tokens.flat())
        ```
    """

    Config = ModelConfig
    # Whether the model compares the candidate with past events, which a schema then must have.
    needs_history = False
    _compiled_with: Mapping[str, Any] | None = None
    _list_losses: Mapping[str, ListLoss] = {}
    _figures: TrainingFigures | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        of_all = inspect.signature(RankingModel.__init__).parameters.values()
        named = (p for p in of_all if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        _, schema, *others = named
        arguments = [
            inspect.Parameter(f.name, schema.KEYWORD_ONLY, default=f.default, annotation=f.type)
            for f in fields(cls.Config)
            if f.init
        ]
        cls.__signature__ = inspect.Signature([schema, *arguments, *others])

    def __new__(cls, *args: Any, **kwargs: Any) -> "RankingModel":
        model: Any = super().__new__(cls, *args, **kwargs)
        # Keras wraps it, and would ask for a config of "gptq" before we can refuse that.
        del model.quantize
        return model

    def __init__(
        self,
        schema: FeatureSchema,
        *of_clone: Any,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        model = type(self).__name__
        if of_clone:
            # `keras.models.clone_model` gives new inputs and outputs where `*` takes them.
            self._become_clone(schema, *of_clone, name=name)
            return
        _check_schema(model, schema)
        config = self.Config.checked(model, arguments)
        check_event_context(model, config.event_context, schema)
        self.check_schema(schema)
        if schema.dims and config.task_table_dim:
            raise ValueError(
                f"{model}: the schema has dims={schema.dims!r}, and the model tables of each "
                "task's own, whose rows have one width. Use `dataclasses.replace(schema, "
                "dims=None)`, or a model without them."
            )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        with _global_policy(policy):
            inputs, outputs = self.graph(schema, config)
        super().__init__(inputs=inputs, outputs=outputs, name=name, trainable=trainable)
        self.dtype_policy = policy
        self._schema, self._config = schema, config

    def _become_clone(self, inputs: Any, outputs: Any = None, *more: Any, name: Any = None) -> None:
        made = outputs.values() if isinstance(outputs, Mapping) else ()
        source = next((getattr(tensor, _SOURCE, None) for tensor in made), None)
        if source is None or more:
            raise ValueError(
                f"{type(self).__name__}: expected a schema, and all else by name. Your own head is "
                "a subclass with its `network`: see the guide on your own head."
            )
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.dtype_policy = source.dtype_policy
        self._schema, self._config = source.schema, source.config
        copy_layer_states(source, self)

    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # Only `clone_model` says how layers are called. It makes a plain model of a class whose
        # `__init__` does not take what it has.
        takes = inspect.getfullargspec(type(self).__init__)
        if "call_fn" in kwargs and None in (takes.varargs, takes.varkw):
            own = type(self).__name__
            raise ValueError(
                f"clone_model: `{own}` has an `__init__` of its own, which can't be given a "
                "clone's inputs and outputs. Give it `*args` and `**kwargs` and hand them on to "
                f"`super().__init__`, put its arguments into `{own}.Config`, or make the model "
                f"anew: `{own}.from_config(model.get_config())`."
            )
        outputs = super()._run_through_graph(inputs, *args, **kwargs)
        for tensor in outputs.values():
            if isinstance(tensor, keras.KerasTensor):
                setattr(tensor, _SOURCE, self)
        return outputs

    @classmethod
    def check_schema(cls, schema: FeatureSchema) -> None:
        """Raises a ValueError for a fitted schema that the model can't work with."""
        if cls.needs_history and not schema.histories:
            model = cls.__name__
            raise ValueError(
                f"{model}: the schema has no history, and {model} compares the candidate with past "
                "events. Add a History to the schema's histories, or use a model that does "
                "without: INFNet, FM, DCNv2, GDCN, WuKong, RankMixer, HyFormer, UniMixer, "
                "SharedBottom, MMoE, OMoE, PLE or STEM."
            )

    @staticmethod
    def network(tokens: Tokens, config: Any) -> dict[str, Any]:
        """The graph of one member, from tokens to what the head of each task reads.

        Args:
            tokens: Tokens of the inputs.
            config: The model's configuration.

        Returns:
            Dict of representations `(batch, width)` by task name.
        """
        raise NotImplementedError

    @classmethod
    def heads(cls, found: Mapping[str, Any], schema: FeatureSchema, config: Any) -> dict[str, Any]:
        """The outputs of one member: the head of each task on what `network` found for it.

        Args:
            found: Representations `(batch, width)` by task name.
            schema: A fitted schema.
            config: The model's configuration.

        Returns:
            Dict of outputs `(batch, units)` by task name.
        """
        return {
            task.name: task_head(schema, task, config)(found[task.name]) for task in schema.tasks
        }

    @classmethod
    def graph(cls, schema: FeatureSchema, config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and outputs by name.

        Each of several members is a functional model of its own, `member_0` and so on, so that
        layers keep their names.

        Args:
            schema: A fitted schema.
            config: The model's configuration.

        Returns:
            Packed inputs, and outputs `(batch, units)` by task.
        """

        def embed(inputs: Mapping[str, Any]) -> EmbeddedInputs:
            stddev, task_dim = config.embedding_stddev, config.task_table_dim
            return EmbeddedInputs(schema, config.dim, stddev, task_dim, inputs)

        def outputs(embedded: EmbeddedInputs) -> dict[str, Any]:
            return cls.heads(cls.network(Tokens(embedded, config), config), schema, config)

        inputs = model_inputs(schema, config.any_length)
        if config.members == 1:
            return inputs, outputs(embed(inputs))
        if config.own_tables:
            read, member_inputs = inputs, lambda: embed(placeholders(inputs))
        else:
            shared = embed(inputs)
            read = keras.Model(inputs, shared.tensors, name=_ROWS)(inputs)
            member_inputs = shared.placeholders
        found = []
        for member in range(config.members):
            with keras.name_scope(f"member_{member}"):
                embedded = member_inputs()
                own = outputs(embedded)
            given = embedded.inputs if config.own_tables else embedded.tensors
            found.append(keras.Model(given, own, name=f"member_{member}")(read))
        return inputs, {
            task: MemberMean(dtype="float32", name=f"{task}_mean")(
                ops.stack([of_member[task] for of_member in found], axis=1)
            )
            for task in schema.task_names
        }

    @property
    def schema(self) -> FeatureSchema:
        """The schema that the model was built from."""
        return self._schema

    @property
    def config(self) -> Any:
        """The model's arguments besides schema, dtype and name: its frozen `Config`."""
        return self._config

    def member(self, index: int) -> keras.Model:
        """The functional model that holds the layers of one member: the model itself if alone.

        Args:
            index: Index of the member.

        Returns:
            The model; `get_layer` finds the member's layers in it.

        Raises:
            ValueError: The model has no such member.
        """
        members = self.config.members
        if not 0 <= index < members:
            raise ValueError(f"{type(self).__name__}: no member {index}; it has {members}.")
        return self if members == 1 else self.get_layer(f"member_{index}")

    def reading(self, tensors: Any, member: int = 0) -> keras.Model:
        """A model from packed inputs to what is computed inside one member; weights are shared.

        Args:
            tensors: Any structure of symbolic tensors of `member(index)`, such as an `output` of
                one of its layers.
            member: Index of the member. Defaults to `0`.

        Returns:
            The model, whose outputs have the same structure.

        Raises:
            ValueError: The model has no such member.
        """
        network = self.member(member)
        inner = keras.Model(network.input, tensors)
        if network is self:
            return inner
        inputs = self.input
        rows = inputs if self.config.own_tables else self.get_layer(_ROWS)(inputs)
        return keras.Model(inputs, inner(rows))

    def set_embeddings(
        self, feature: str, vectors: Any, data: Any, *, trainable: bool = False
    ) -> int:
        """Starts rows of a feature's table at given vectors, and by default freezes these rows.

        Other rows of the table, of unknown values and of those without a vector, stay as they are,
        and are trained. Frozen rows stay so in files, exports and clones, whatever the optimizer. A
        table that several features share has one row for all of them.

        Args:
            feature: Name of a categorical feature with a vocabulary.
            vectors: `(dim,)` numbers for each raw value: a dict, a Series of vectors, or a frame
                with a row for each; the index has the values.
            data: The `RankingData` or `FeatureEncoder` that the model was built from, which knows
                the values.
            trainable: Whether these rows are trained on. Defaults to `False`.

        Returns:
            Number of rows that are set.

        Raises:
            ValueError: The data are of another schema than the model, the feature has no
                vocabulary, a value comes twice, vectors are not of width `dim` or not finite, no
                value is in the vocabulary, or with `dims="auto"` the table has narrower rows.

        Warns:
            UserWarning: Some values are not in the vocabulary, and are left out.

        Example:
            ```python
            model = keras_infnet.INFNet(data.schema, dim=64)
            model.set_embeddings("video_id", vectors, data)  # {video: 64 numbers}
            ```
        """
        who = f"{type(self).__name__}.set_embeddings"
        encoder = getattr(data, "encoder", data)
        if not hasattr(encoder, "rows_of_vectors"):
            raise ValueError(
                f"{who}: data is a {type(data).__name__}; expected the RankingData or "
                "FeatureEncoder that knows the values."
            )
        encoder.check_model(self, who)
        dim, table = self.config.dim, self._schema.table_of(feature)
        ids, rows = encoder.rows_of_vectors(feature, vectors, dim, who)
        widths = [width for width, _ in self._schema.table_parts(dim)[table]]
        if widths != [dim]:
            raise ValueError(
                f"{who}: with dims={self._schema.dims!r} the rows of table `{table}` have widths "
                f"{widths}; expected {dim}, that of the vectors. Give them in a `DenseFeature`, or "
                "fit a schema with dims=None."
            )
        for layer in self._embeddings():
            if table in layer.table_rows:
                layer.set_rows(table, ids, rows, trainable)
        # Steps that were compiled know no frozen rows.
        self.train_function = self.test_function = self.predict_function = None
        return len(ids)

    def grow(
        self,
        extended: Any,
        start: str | Mapping[str, str] = "unknown",
        rows: Any = None,
        seed: int = 0,
    ) -> "RankingModel":
        """A new model with rows for the ids of an extended encoder; this one stays as it is.

        It has this model's class, config and weights, and is compiled as it is: the optimizer's
        state, such as moments, iterations and learning rate, goes on, and frozen layers and rows
        stay so. Of ids that both know, and of unknown ones, it says what this model says. Rows that
        are new, or whose id has another value now, begin anew, and with slots of the optimizer as
        before a first step.

        Args:
            extended: What `FeatureEncoder.extend` gave, of the encoder that this model was built
                from, or a `RankingData` of it. With no `"like:..."` its schema or layout will do.
            start: How new rows begin, or a dict by feature:

                - `"unknown"`: at the row of unknown values (the mean of several), with noise of the
                  standard deviation `embedding_stddev`; where a feature has none, at noise alone;
                - `"random"`: at noise alone, as in a new model;
                - `"like:author_id"`: at the mean of the rows of old ids that share a value of
                  `author_id` with it in `rows`, one that shares two counting twice; where none
                  does, as `"unknown"`. For all it means the features of the same owner as the
                  field; the others begin as `"unknown"`.
            rows: Rows with new and old values, for `"like:..."`. Defaults to none.
            seed: Seed of the noise.

        Returns:
            The grown model.

        Raises:
            ValueError: `extended` is no extension of this model's encoder, but of another or of a
                later one; it has other features, tasks or histories, or fewer ids; the model is
                quantized; `start` is another or names an unknown field; or `rows` lack a column.

        Example:
            ```python
            encoder = data.encoder.extend(today)
            model = model.grow(encoder, start="like:author_id", rows=today)
            model.fit(keras_infnet.RankingData(encoder, today).train)
            ```
        """
        return grown(self, extended, start, rows, seed)

    def quantize(
        self, mode: Any = None, config: Any = None, filters: Any = None, **kwargs: Any
    ) -> None:
        """Stores the kernels of dense layers in 8 or 4 bits, for predictions; see `keras.Model`.

        Embedding tables stay as they are: `serving.export` has `table_dtype` for them. Files,
        clones and exports keep it. In 4 bits outputs differ visibly: measure them.

        Args:
            mode: `"int8"` or `"int4"`. Defaults to `None`: that of `config`.
            config: `keras.quantizers.Int8QuantizationConfig` or `Int4QuantizationConfig`. Defaults
                to `None`: Keras's own for the mode.
            filters: Which layers, as in `keras.Model.quantize`. Defaults to `None`: all.
            **kwargs: Further arguments of `keras.Model.quantize`.

        Raises:
            ValueError: The mode is another, or the layers compute in float16.

        Warns:
            UserWarning: Layers that are passed over, from Keras.
        """
        found = getattr(config, "mode", config) if mode is None else mode
        if found not in _QUANTIZATION:
            raise ValueError(
                f"{type(self).__name__}.quantize: the mode is {found!r}; offered are 'int8' and "
                "'int4'. ('gptq' and 'awq' are for chains of blocks that read text; 'float8' is a "
                "way to train, and stores no fewer bits.)"
            )
        super().quantize(mode, config, filters, **kwargs)

    def settle_embeddings(self) -> None:
        """Writes frozen rows into the tables too, so that an export needs these alone."""
        for layer in self._embeddings():
            layer.settle()

    def _embeddings(self) -> list[FusedEmbedding]:
        return [layer for layer in layers_inside(self) if isinstance(layer, FusedEmbedding)]

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool | str = "auto",
        list_losses: Mapping[str, ListLoss] | None = None,
        balance: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configures training; losses and metrics come from the schema unless they are given.

        What is said of some tasks leaves the others as they are. Schema metrics are weighted, so
        that an unobserved label, whose sample weight is 0, counts in neither loss nor metric.

        Args:
            optimizer: Keras optimizer or its name. `SparseAdagrad`, `LazyAdam` and `LazyAdamW`
                update large embedding tables by rows; Keras's own read and write all rows in every
                step. Defaults to `"adam"`.
            loss: Dict of losses by task, or one loss for all. Defaults to `None`: each task's own,
                such as binary cross entropy, or squared error for regression.
            loss_weights: Dict of weights by task. Defaults to `None`: each task's `loss_weight`.
            weighted_metrics: Dict of metrics, or lists of them, by task; `[]`: none. Defaults to
                `None`: each task's own, such as `auc`, or `mse` for regression.
            jit_compile: Whether XLA compiles the steps. Defaults to `"auto"`: as Keras chooses, but
                on TensorFlow without a GPU training, evaluation and prediction begin without, and
                go on with it once the time that it saves in the steps to come is more than that of
                compiling. The first steps tell, so that numbers vary with the machine's load, by
                float rounding alone; `True` and `False` fix it. With `steps_per_execution`, and
                where `set_seeds(deterministic=True)` was called, it is training alone, from the
                first step. Not within a `tf.distribute` strategy, whose steps XLA can't compile.
            list_losses: Dict of losses within lists by binary task, such as
                `{"click": keras_infnet.losses.JRC()}`, each in the place of the task's own, which
                it holds. They count in training, on `batches(..., by="list")`; evaluations show
                the task's own loss. Defaults to none.
            balance: How the tasks' gradients are weighed in the weights that tasks share:
                `"uncertainty"`, `"dwa"`, `"gradnorm"`, `"pcgrad"`, `"cagrad"`, `"famo"`, or an
                object of `keras_infnet.balances`. Tasks with a `loss_weight` of 0 are left out; the
                loss that is shown stays the plain sum. Defaults to `None`: all weigh 1.
            **kwargs: Further arguments of `keras.Model.compile`, such as `metrics`, a dict too.

        Raises:
            ValueError: A dict names an unknown task, there are several tasks and a list, which
                Keras would hand out in the order of the alphabet, or a list loss is of a task that
                is not binary, or given beside a loss, or of a schema without `list_key` that it
                needs, or within a `tf.distribute` strategy, which would cut lists; the balance is
                unknown, there are not two tasks to weigh, or the optimizer or a task can't do it.
        """
        balance = balance_of(balance)
        schema, given = self._schema, {"jit_compile": jit_compile, "balance": balance, **kwargs}
        losses = losses_by_task(schema, loss, list_losses)
        weights = weights_by_task(schema, loss_weights)
        self._list_losses = list_losses_of(losses)
        if self._list_losses and is_distributed(self):
            raise ValueError(
                f"{type(self).__name__}.compile: list losses of {', '.join(self._list_losses)} "
                "within a tf.distribute strategy, which cuts batches, and lists with them. Train "
                "on one device, or without list losses."
            )
        if "metrics" in kwargs:
            kwargs["metrics"] = metrics_by_task(schema, "metrics", kwargs["metrics"])
        given |= {"loss": loss, "loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        given |= {"list_losses": list_losses}
        super().compile(
            optimizer=optimizer,
            loss=losses,
            loss_weights=weights,
            weighted_metrics=metrics_by_task(schema, "weighted_metrics", weighted_metrics),
            jit_compile=jit_compile,
            **kwargs,
        )
        # Not a dict, of which Keras would track the metrics beside those of a later `compile`.
        self._compiled_with = MappingProxyType(given)
        self._figures = TrainingFigures(self)
        self.xla_by_worth = jit_compile == "auto"
        self.optimizer = loss_scale_by_rows(self.optimizer, self.trainable_variables)
        self.balance = None
        if balance is not None:
            trained = [t for t in schema.tasks if losses[t.name] is not None and weights[t.name]]
            self.balance = BalanceInUse(balance, trained, self.optimizer)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of `keras.Model`, and the figures that layers show in training alone."""
        return super().metrics + (self._figures.metrics if self._figures is not None else [])

    def recompile(self, optimizer: Any, **changes: Any) -> None:
        """Compiles with another optimizer: losses, metrics and all else stay as they were.

        Args:
            optimizer: As in `compile`.
            **changes: Arguments of `compile` that change all the same.
        """
        self.compile(optimizer, **{**(self._compiled_with or {}), **changes})

    def check_inputs(self, what: str, data: Any) -> None:
        """Raises a ValueError for data that another encoder made; `fit` and its like call it.

        Loops over `train_on_batch` and `predict_on_batch`, which check nothing in a step, call it
        once. Datasets that are not made of `Batches` say nothing, and are not read.

        Args:
            what: What the data are for, for the message.
            data: A dataset, or arrays by the names of the inputs, or a tuple that begins with them.

        Raises:
            ValueError: `Batches` are of another encoder, or an id of an array has no row.
        """
        check_inputs(f"{type(self).__name__}.{what}", self._schema, data)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in `keras.Model`; batches of another encoder, and ids beyond a table, are refused.

        Raises:
            ValueError: `Batches` are of another encoder, or an id of an array has no row.

        Warns:
            UserWarning: The schedule of the optimizer has ended at a learning rate of 0.
        """
        self.check_inputs("fit", x)
        self.check_inputs("fit, validation_data", kwargs.get("validation_data"))
        self._warn_of_rate_zero()
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in `keras.Model`; checks as `fit` does."""
        self.check_inputs("evaluate", x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As in `keras.Model`; checks as `fit` does."""
        self.check_inputs("predict", x)
        return super().predict(x, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean over members of each one's own loss; Keras calls it."""
        if training and self._figures is not None:
            self._figures.update(ops.shape(next(iter(y_pred.values())))[0])
        y, y_pred, sample_weight = self._as_losses_read(y, y_pred, sample_weight, training)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def task_losses(self, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The losses that the balance weighs.

        Args:
            y: Labels by task.
            y_pred: Outputs by task, as in training.
            sample_weight: Weights of rows by task. Defaults to `None`.

        Returns:
            Float32 `(tasks,)` in the order of `balance.tasks`, each times its weight in the loss.
        """
        y, y_pred, sample_weight = self._as_losses_read(y, y_pred, sample_weight, True)
        found = dict.fromkeys(self.balance.tasks, 0.0)
        for task, loss, weight in compiled_losses(self):
            if task in found:
                by_task = isinstance(sample_weight, Mapping)
                of_rows = sample_weight.get(task) if by_task else sample_weight
                value = ops.cast(loss(y[task], y_pred[task], of_rows), "float32")
                found[task] += value if weight is None else value * weight
        return ops.stack(list(found.values()))

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Metrics of the members' mean; Keras calls it."""
        y, _ = without_lists(y)
        if self.config.members > 1:
            y_pred = {t: ops.mean(p, 1) if len(p.shape) == 3 else p for t, p in y_pred.items()}
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_compile_config(self) -> dict[str, Any] | None:
        """How the model was compiled, and whether it has been trained since."""
        config = super().get_compile_config()
        if not config:
            return config
        jit_compile = (self._compiled_with or {})["jit_compile"]
        config |= {"jit_compile": jit_compile, "trained": self.optimizer.built}
        # Keras's files leave them out: dropout would begin its sequence again.
        config["random"] = [ops.convert_to_numpy(s).tolist() for s in self._random_states()]
        if self.balance is not None:
            config["balance"] = keras.saving.serialize_keras_object(self.balance.balance)
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was, so that training goes on where it stopped."""
        trained, random = config.pop("trained", True), config.pop("random", None)
        self.compile(**keras.saving.deserialize_keras_object(config))
        # An optimizer that was saved before its first step has no variables to load.
        if trained:
            self.optimizer.build(self.trainable_variables)
        # A file that was written before has none.
        if random is not None:
            for state, value in zip(self._random_states(), random, strict=True):
                state.assign(value)

    def _random_states(self) -> list[Any]:
        """States of random numbers, such as dropout's: all variables but weights and metrics."""
        others = {id(variable) for variable in self.weights + self.metrics_variables}
        return [variable for variable in self.variables if id(variable) not in others]

    def _warn_of_rate_zero(self) -> None:
        if not self.compiled:
            return
        scaled = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for optimizer in getattr(scaled, "optimizers", [scaled]):
            if not has_schedule(optimizer):
                continue
            steps, rate = (
                ops.cast(x, "float32") for x in (optimizer.iterations, optimizer.learning_rate)
            )
            if float(steps) and float(rate) == 0:
                warnings.warn(
                    f"{type(self).__name__}.fit: the learning rate of {type(optimizer).__name__} is"
                    f" 0 after {float(steps):.0f} steps, where its schedule has ended: nothing is "
                    "learned. Compile with another one: "
                    "`model.recompile(keras_infnet.optimizers.LazyAdam(1e-3))`.",
                    stacklevel=3,
                )

    def get_config(self) -> dict[str, Any]:
        """Schema, configuration, name, dtype, and of layers what is not as it is made."""
        given = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.init}
        return {
            **{name: _plain(value) for name, value in given.items()},
            "schema": self._schema.to_dict(),
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            **layer_states(self),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "RankingModel":
        """The model that `get_config` described."""
        config = dict(config)
        schema = FeatureSchema.from_dict(config.pop("schema"))
        dtype = config.pop("dtype", None)
        if isinstance(dtype, dict):
            dtype = keras.dtype_policies.deserialize(dtype)
        states = config.pop("layers", {})
        model = cls(schema, dtype=dtype, **config)
        restore_layer_states(model, states)
        return model

    def _as_losses_read(
        self, y: Any, y_pred: Any, sample_weight: Any, training: bool
    ) -> tuple[Any, Any, Any]:
        """Labels, outputs and weights of each member; in training, labels with their lists."""
        y, lists = without_lists(y)
        in_lists = self._list_losses if training else {}
        if lists is not None:
            sample_weight = without_fill(y, sample_weight, lists, in_lists)
        if training:
            y, y_pred, sample_weight = self._by_member(y, y_pred, sample_weight)
        if in_lists:
            model, members = type(self).__name__, self.config.members
            y = labels_with_lists(model, y, lists, in_lists, members)
        return y, y_pred, sample_weight

    def _by_member(self, y: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Labels, outputs and weights with the rows of all members, one after the other."""
        if self.config.members == 1:
            return y, y_pred, sample_weight
        y, sample_weight = (
            keras.tree.map_structure(self._once_a_member, part) for part in (y, sample_weight)
        )
        y_pred = {
            task: ops.reshape(ops.swapaxes(p, 0, 1), (-1, p.shape[-1]))
            for task, p in y_pred.items()
        }
        return y, y_pred, sample_weight

    def _once_a_member(self, rows: Any) -> Any:
        """The rows once for each member, one member after the other."""
        return None if rows is None else ops.concatenate([rows] * self.config.members, axis=0)


# What `clone_model` gives is no argument of a user's.
_signature = inspect.signature(RankingModel.__init__)
_, *_arguments = [p for p in _signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
RankingModel.__signature__ = _signature.replace(
    parameters=_arguments, return_annotation=inspect.Signature.empty
)


@keras.saving.register_keras_serializable(package="keras_infnet")
class MemberMean(keras.layers.Layer):
    """`y = mean_m y_m` at inference; in training `y_m`, so that each has a loss of its own.

    The loss of a mean lets members lean on each other; the mean of their losses trains each as if
    it were alone, and averages errors that differ. `(batch, members, units)` becomes
    `(batch, units)`, or stays in training.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return inputs if training else ops.mean(inputs, axis=1)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        shape = (inputs.shape[0], inputs.shape[2])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)


def task_head(schema: FeatureSchema, task: Task, config: ModelConfig, **options: Any) -> TaskHead:
    """The head of a task; its bias starts at the base rate of the labels.

    Args:
        schema: A fitted schema.
        task: One of its tasks.
        config: The model's configuration.
        **options: Arguments of `TaskHead` that differ, such as `activation`.
    """
    usual = {"activation": task.activation, "bias": schema.first_bias(task.name)}
    return TaskHead(
        config.head_dim,
        task.units,
        dropout=config.dropout,
        name=f"{task.name}_head",
        **{**usual, **options},
    )


def _check_schema(model: str, schema: Any) -> None:
    if not isinstance(schema, FeatureSchema):
        raise ValueError(
            f"{model}: the schema is a {type(schema).__name__}; expected a fitted FeatureSchema, "
            "such as the `schema` of a RankingData."
        )
    schema.require_fitted()


@contextlib.contextmanager
def _global_policy(policy: Any) -> Iterator[None]:
    """The policy of all layers that are made meanwhile, so that graphs need not hand it on."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | int | float | str | None) else asdict(value)
