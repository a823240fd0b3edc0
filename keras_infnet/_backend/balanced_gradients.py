"""Balanced gradients: of shared weights the tasks' weighted sum, of own weights the task's own."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.replicas import sum_over_replicas
from keras_infnet._backend.row_gradients import is_row_gradient, with_values
from keras_infnet._backend.row_lookups import is_marked
from keras_infnet._base.weights_of_tasks import WeightsOfTasks, weights_of_tasks
from keras_infnet._keras_internals import track_loss

# Gradients of some trainable variables, for the gradient of each loss: `(tasks + 1,)`.
Pull = Callable[[Any, Sequence[Any]], list[Any]]


def losses_with_rest(
    model: Any, total: Any, y: Any, y_pred: Any, sample_weight: Any
) -> tuple[Any, Any]:
    """The losses of the tasks `(tasks,)`, and with what else is in the loss `(tasks + 1,)`."""
    losses = model.task_losses(y, y_pred, sample_weight)
    rest = ops.cast(total, "float32") - ops.sum(losses)
    return losses, ops.concatenate([losses, ops.expand_dims(rest, 0)])


def balanced_gradients(model: Any, losses: Any, pull: Pull) -> tuple[list[Any], Callable]:
    """The gradients of a step, weighed by the model's balance.

    Args:
        model: A model with a `balance`.
        losses: `(tasks,)`, of this device's part of the batch.
        pull: From gradients of the losses to those of variables.

    Returns:
        A gradient for each trainable variable, and a function that moves the balance's state on,
        given the losses of the same batch after the step.
    """
    in_use, variables = model.balance, model.trainable_variables
    number = len(in_use.tasks)
    found = weights_of_tasks(model, in_use.tasks)
    # Loss scaling is undone by the optimizer.
    scale = ops.cast(model.optimizer.scale_loss(ops.ones(())), "float32")
    losses, gram = sum_over_replicas([losses])[0], None
    if read := _read(model, found):
        of_losses = ops.eye(number, number + 1)
        vectors = [_vector(pull(scale * of_losses[k], read), read) for k in range(number)]
        gram = _gram(vectors) / ops.square(scale)
    weights = ops.cast(in_use.weigh(losses, gram), "float32")
    gradients = pull(scale * ops.concatenate([weights, ops.ones((1,))]), variables)
    own = ops.where(ops.equal(weights, 0.0), 0.0, 1.0 / weights)
    for i, variable in enumerate(variables):
        owner = found.owner(variable)
        if owner is not None and gradients[i] is not None:
            gradients[i] = _times(gradients[i], own[in_use.tasks.index(owner)])

    def update(after: Any = None) -> None:
        after = None if after is None else sum_over_replicas([after])[0]
        in_use.update(losses, gram, after, weights)

    return gradients, update


def tensorflow_balanced_step(model: Any, data: Any) -> Any:
    """Keras's training step on TensorFlow, with balanced gradients."""
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape(persistent=True) as tape:
        y_pred = model(x, training=True)
        total = model.compute_loss(x, y, y_pred, sample_weight, training=True)
        losses, with_rest = losses_with_rest(model, total, y, y_pred, sample_weight)
    rows = tf.shape(tf.nest.flatten(x)[0])[0]
    track_loss(model, total * tf.distribute.get_strategy().num_replicas_in_sync, rows)

    def pull(of_losses: Any, variables: Sequence[Any]) -> list[Any]:
        values = [variable.value for variable in variables]
        return tape.gradient(with_rest, values, output_gradients=of_losses)

    gradients, update = balanced_gradients(model, losses, pull)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    if model.balance.reads_after:
        update(model.task_losses(y, model(x, training=True), sample_weight))
    else:
        update()
    return model.compute_metrics(x, y, y_pred, sample_weight)


def _read(model: Any, found: WeightsOfTasks) -> list[Any]:
    """The variables whose gradients the balance compares."""
    reads = model.balance.reads
    if reads == "losses":
        return []
    if reads == "shared":
        read = [v for v in model.trainable_variables if not is_marked(v) and found.shared(v)]
    else:
        number = len(model.balance.tasks)
        networks = [model.member(i) for i in range(model.config.members)]
        kernels = (
            [v for v in network.trainable_variables if len(v.shape) > 1 and not is_marked(v)]
            for network in networks
        )
        nearest = [found.nearest([v for v in ks if found.shared(v, number)]) for ks in kernels]
        read = [v for v in nearest if v is not None]
    if not read:
        raise ValueError(
            f"{type(model).__name__}: the tasks share no weights besides embedding tables, and "
            f"balance={model.balance.kind} compares gradients of such. Take one that compares "
            'losses: "uncertainty", "dwa" or "famo".'
        )
    return read


def _vector(gradients: list[Any], variables: list[Any]) -> Any:
    """Gradients of all variables as one vector, summed over devices; zeros where there is none."""
    parts = [
        ops.zeros(v.shape) if g is None else ops.cast(ops.convert_to_tensor(g), "float32")
        for g, v in zip(gradients, variables, strict=True)
    ]
    return ops.concatenate([ops.reshape(part, (-1,)) for part in sum_over_replicas(parts)])


def _gram(vectors: list[Any]) -> Any:
    """Products of all pairs `(tasks, tasks)`; not as one product of matrices, which may round."""
    number = len(vectors)
    products = {
        (i, j): ops.sum(vectors[i] * vectors[j]) for i in range(number) for j in range(i + 1)
    }
    rows = [[products[max(i, j), min(i, j)] for j in range(number)] for i in range(number)]
    return ops.stack([ops.stack(row) for row in rows])


def _times(gradient: Any, factor: Any) -> Any:
    values = gradient.values if is_row_gradient(gradient) else gradient
    values = values * ops.cast(factor, values.dtype)
    return with_values(gradient, values) if is_row_gradient(gradient) else values
