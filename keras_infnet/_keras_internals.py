"""Private names of Keras that we lean on: behind functions, and in one table.

All are in Keras 3.15.1. `tests/house/test_keras_internals.py` fails with the name where the
installed version lacks one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Internal:
    """A name that no documentation promises.

    Args:
        owner: Class that has it, by its public path.
        name: The name.
        use: What for; begins with the function of this file, or with "overridden" or "read".
        rooms: Folders of the package that may name it themselves. Defaults to none: they call the
            function.
        backend: Keras's backend that has it. Defaults to all.
    """

    owner: str
    name: str
    use: str
    rooms: tuple[str, ...] = ()
    backend: str | None = None


_MODEL, _OPTIMIZER = "keras.Model", "keras.optimizers.Optimizer"
INTERNALS = (
    Internal(_MODEL, "_symbolic_build", "make_training_variables"),
    Internal(
        _MODEL, "_symbolic_build", "overridden: the graph is not run for it", rooms=("_backend",)
    ),
    Internal(
        _MODEL,
        "_maybe_symbolic_build",
        "overridden: no batch of several devices is read for shapes",
        rooms=("_backend",),
        backend="tensorflow",
    ),
    Internal(_MODEL, "_distribute_strategy", "is_distributed", backend="tensorflow"),
    Internal(_MODEL, "_initial_epoch", "start_at_epoch"),
    Internal(_MODEL, "_nodes_by_depth", "calls_in_order"),
    Internal(_MODEL, "_nodes_by_depth", "has_graph"),
    Internal(_MODEL, "_update_metrics_variables", "update_metrics", backend="jax"),
    Internal(_MODEL, "_get_state_sharding_spec", "test_state_shardings", backend="jax"),
    Internal(_MODEL, "_loss_tracker", "track_loss"),
    Internal(_MODEL, "_compile_loss", "compiled_losses"),
    Internal(
        _MODEL, "compute_loss_and_updates", "loss of a step", rooms=("_backend",), backend="jax"
    ),
    Internal(_MODEL, "_flatten_layers", "layers_inside"),
    Internal(
        _MODEL,
        "_run_through_graph",
        "overridden: `clone_model` makes the clone of what it gives, and may be left out",
        rooms=("models", "_backend"),
    ),
    Internal(_MODEL, "_tracker", "unlocked"),
    Internal("keras.Variable", "_layout", "layout_of"),
    Internal(_OPTIMIZER, "_get_variable_index", "variable_index"),
    Internal(_OPTIMIZER, "_learning_rate", "has_schedule"),
    Internal(_OPTIMIZER, "_variables", "end_schedule"),
    Internal(_OPTIMIZER, "_tracker", "end_schedule"),
    Internal(_OPTIMIZER, "_trainable_variables", "trained_variables"),
    Internal(_OPTIMIZER, "_use_weight_decay", "decays"),
    Internal(_OPTIMIZER, "_apply_weight_decay", "update_variables"),
    Internal(_OPTIMIZER, "_backend_update_step", "update_variables"),
    Internal(
        _OPTIMIZER,
        "_backend_apply_gradients",
        "overridden: gradients of rows are summed before they are clipped",
        rooms=("training",),
    ),
    Internal(_OPTIMIZER, "_clip_gradients", "overridden for gradients of rows", ("training",)),
    Internal(
        _OPTIMIZER,
        "_all_reduce_sum_gradients",
        "overridden: devices are summed before clipping",
        rooms=("training",),
        backend="tensorflow",
    ),
    Internal("keras.optimizers.Adam", "_momentums", "adam_moments"),
    Internal("keras.optimizers.Adam", "_velocities", "adam_moments"),
    Internal("keras.optimizers.Adam", "_velocity_hats", "adam_moments"),
    Internal("keras.optimizers.Adagrad", "_accumulators", "adagrad_sums"),
    Internal(
        "keras.optimizers.LossScaleOptimizer",
        "check_finite",
        "overridden for gradients of rows",
        rooms=("_backend",),
    ),
)


def make_training_variables(model: keras.Model, data_batch: Any) -> None:
    """Makes the variables of metrics and optimizer, which a first step would make.

    Args:
        model: A compiled model.
        data_batch: `(x, y, sample_weight)` as symbolic tensors.
    """
    model._symbolic_build(data_batch=data_batch)


def is_distributed(model: keras.Model) -> bool:
    """Whether a model was made within the scope of a `tf.distribute` strategy."""
    return getattr(model, "_distribute_strategy", None) is not None


def start_at_epoch(model: keras.Model, epoch: int | None) -> None:
    """Sets the epoch that `fit` begins with, as `BackupAndRestore` does; None: the given one."""
    model._initial_epoch = epoch


def calls_in_order(model: keras.Model) -> Iterator[Any]:
    """The calls of a functional model's graph, each after those whose outputs it reads.

    Yields:
        Nodes with `operation`, `input_tensors`, `outputs` and `arguments`; inputs are left out.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.operation is not None and not node.is_input:
                yield node


def has_graph(layer: Any) -> bool:
    """Whether a layer is a functional model, whose calls `calls_in_order` gives."""
    return hasattr(layer, "_nodes_by_depth")


def layers_inside(model: keras.Model) -> list[keras.Layer]:
    """All layers inside a model, a layer before those inside it."""
    return model._flatten_layers(include_self=False)


@contextlib.contextmanager
def unlocked(layer: keras.Layer) -> Iterator[None]:
    """In its context, a layer that is built may get further weights."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def update_metrics(model: keras.Model, variables: Sequence[Any], *of_step: Any) -> tuple[Any, Any]:
    """JAX: the metrics after a step.

    Args:
        model: A compiled model.
        variables: Values of the metrics' variables.
        *of_step: Loss, `x`, `y`, predictions and sample weights.

    Returns:
        The logs, and the new values of the variables.
    """
    return model._update_metrics_variables(variables, *of_step)


def test_state_shardings(model: keras.Model) -> tuple[Any, Any, Any]:
    """JAX: how weights, other variables and those of metrics lie on the devices."""
    trainable, others, _, of_metrics = model._get_state_sharding_spec()
    return trainable, others, of_metrics


def track_loss(model: keras.Model, loss: Any, rows: Any) -> None:
    """Adds the loss of a batch of so many rows to the mean that a compiled model shows."""
    model._loss_tracker.update_state(loss, sample_weight=rows)


def compiled_losses(model: keras.Model) -> list[tuple[str, Any, Any]]:
    """Output, loss and weight (or None) of each loss of a model compiled and built."""
    return [(loss.path[0], *loss[1:3]) for loss in model._compile_loss._flat_losses]


def layout_of(variable: Any) -> Any:
    """How a variable is laid out over devices; None where nothing was said."""
    return getattr(variable, "_layout", None)


def has_schedule(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer's learning rate is a schedule's."""
    schedule = keras.optimizers.schedules.LearningRateSchedule
    return isinstance(getattr(optimizer, "_learning_rate", None), schedule)


def end_schedule(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """Puts a learning rate that can be set in the place of an optimizer's schedule."""
    rate = keras.Variable(
        learning_rate,
        trainable=False,
        dtype=keras.config.floatx(),
        aggregation="only_first_replica",
        name="learning_rate",
    )
    optimizer._learning_rate = rate
    # Keras appends it. An optimizer that is made with a number, as from a file, has it here. In a
    # new list: TensorFlow exports nothing that holds a list whose elements have moved.
    variables = list(optimizer._variables)
    variables.insert(1, variables.pop())
    object.__setattr__(optimizer, "_variables", variables)
    is_variable, _ = optimizer._tracker.config["variables"]
    optimizer._tracker.config["variables"] = (is_variable, variables)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Place of a variable among those that the optimizer was built for."""
    return optimizer._get_variable_index(variable)


def trained_variables(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The variables that an optimizer was built for."""
    return list(optimizer._trainable_variables)


def decays(optimizer: keras.optimizers.Optimizer, variable: Any) -> bool:
    """Whether an optimizer with weight decay applies it to this variable."""
    return optimizer._use_weight_decay(variable)


def update_variables(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Any],
    variables: Sequence[Any],
    decayed: Sequence[Any],
) -> None:
    """Weight decay of some variables, then one step of all by gradients that are ready."""
    optimizer._apply_weight_decay(decayed)
    optimizer._backend_update_step(gradients, variables, optimizer.learning_rate)


def adam_moments(optimizer: keras.optimizers.Adam, index: int) -> tuple[Any, Any, Any]:
    """First moment, second moment and its maximum (None without `amsgrad`) of a variable."""
    largest = optimizer._velocity_hats[index] if optimizer.amsgrad else None
    return optimizer._momentums[index], optimizer._velocities[index], largest


def adagrad_sums(optimizer: keras.optimizers.Adagrad, index: int) -> Any:
    """Sums of squared gradients of a variable."""
    return optimizer._accumulators[index]
