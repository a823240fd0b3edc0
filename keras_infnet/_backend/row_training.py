"""The training step of a model: tables get gradients of rows, and tasks are balanced."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_infnet._backend.balanced_gradients import (
    balanced_gradients,
    losses_with_rest,
    tensorflow_balanced_step,
)
from keras_infnet._backend.devices import on_every_device
from keras_infnet._backend.row_gradients import RowGradient, is_row_gradient
from keras_infnet._backend.row_lookups import RecordedLookups, RowLookups, tables_by_row
from keras_infnet._keras_internals import update_metrics


def train_step_by_rows(model: keras.Model, train_step: Callable, arguments: Sequence[Any]) -> Any:
    """Keras's training step; tables that the optimizer updates by rows get gradients of rows.

    With a `balance` of the model, the gradients of its tasks are weighed.

    Args:
        model: The model that is trained.
        train_step: Its `keras.Model.train_step`.
        arguments: Arguments of `train_step`, which differ from backend to backend.

    Returns:
        What `train_step` returns.
    """
    tables = tables_by_row(model.optimizer, model.trainable_variables)
    balanced = getattr(model, "balance", None) is not None
    if not tables and not balanced:
        return train_step(*arguments)
    if keras.backend.backend() == "tensorflow":
        with RowLookups(tables):
            step = functools.partial(tensorflow_balanced_step, model) if balanced else train_step
            return step(*arguments)
    return _jax_train_step(model, tables, *arguments)


def loss_scale_by_rows(optimizer: Any, variables: Sequence[Any]) -> Any:
    """The optimizer; one that scales the loss dynamically then reads no whole table for it."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer
    if isinstance(optimizer, RowLossScale) or not tables_by_row(optimizer, variables):
        return optimizer
    return RowLossScale(
        optimizer.inner_optimizer,
        initial_scale=optimizer.initial_scale,
        dynamic_growth_steps=optimizer.dynamic_growth_steps,
        name=optimizer.name,
    )


@keras.saving.register_keras_serializable(package="keras_infnet")
class RowLossScale(keras.optimizers.LossScaleOptimizer):
    """A `LossScaleOptimizer` that asks of a table only whether its rows' gradients are finite."""

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all gradients are finite."""
        return super().check_finite([g.values if is_row_gradient(g) else g for g in grads])


def _jax_train_step(model: keras.Model, tables: list, state: tuple, data: Any) -> tuple:
    import jax
    import jax.numpy as jnp

    if tables and isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "LossScaleOptimizer, which Keras adds for mixed_float16, can't scale gradients of rows "
            "on JAX. Use dtype mixed_bfloat16, or compile(..., auto_scale_loss=False) with a fixed "
            "`loss_scale_factor` in the optimizer."
        )
    trainable, _, of_optimizer, _ = state
    data = keras.utils.unpack_x_y_sample_weight(data)
    variables = model.trainable_variables
    by_row = [i for i, v in enumerate(variables) if any(v is table for table in tables)]
    dense = [None if i in by_row else value for i, value in enumerate(trainable)]
    of_tables = [trainable[i] for i in by_row]
    loss_of = _loss_of(model, by_row, state, data)
    recorded = _record(loss_of, dense, of_tables, tables)

    def loss_of_rows(dense: list, added: list) -> tuple:
        return loss_of(dense, of_tables, RecordedLookups(tables, added))

    def of_variables(gradients: list, of_rows: list, ids: list) -> list:
        gradients = list(gradients)
        for i in by_row:
            gradients[i] = _of_table(variables[i], recorded.looked_up, of_rows, ids)
        return gradients

    added = [jnp.zeros(shape.shape, shape.dtype) for shape in recorded.shapes]
    if getattr(model, "balance", None) is not None:
        return _jax_balanced_step(model, loss_of_rows, (dense, added), of_variables, state, data)
    gradient = jax.value_and_grad(loss_of_rows, argnums=(0, 1), has_aux=True)
    (_, (updates, ids)), (gradients, of_rows) = gradient(dense, added)
    gradients = of_variables(gradients, of_rows, ids)
    trainable, of_optimizer = model.optimizer.stateless_apply(of_optimizer, gradients, trainable)
    return _step_result(model, updates, data, trainable, of_optimizer)


def _jax_balanced_step(
    model: Any, loss_of: Callable, at: tuple, of_variables: Callable, state: tuple, data: tuple
) -> tuple:
    """A step with balanced gradients of `loss_of`, a function of `at`."""
    import jax

    trainable, _, of_optimizer, _ = state
    _, y, sample_weight = data

    def losses_of(*at: Any) -> tuple:
        _, found = loss_of(*at)
        total, y_pred, *_ = found[0]
        return losses_with_rest(model, total, y, y_pred, sample_weight)[1], found

    losses, pull_all, (updates, ids) = jax.vjp(losses_of, *at, has_aux=True)
    place = {id(variable): i for i, variable in enumerate(model.trainable_variables)}

    def pull(of_losses: Any, some: Sequence[Any]) -> list[Any]:
        gradients = of_variables(*pull_all(of_losses), ids)
        return [gradients[place[id(variable)]] for variable in some]

    with _holding(model.optimizer, of_optimizer):
        gradients, update = balanced_gradients(model, losses[:-1], pull)
    trainable, of_optimizer = model.optimizer.stateless_apply(of_optimizer, gradients, trainable)
    after = None
    if model.balance.reads_after:
        # With the random state of the step, so that dropout is the same.
        _, (_, y_pred, *_) = _loss_and_updates(model, (trainable, *state[1:]), data)
        after = model.task_losses(y, y_pred, sample_weight)
    with _holding(model.optimizer, of_optimizer) as scope:
        update(after)
    of_optimizer = [scope.get_current_value(v) for v in model.optimizer.variables]
    return _step_result(model, updates, data, trainable, of_optimizer)


def _holding(optimizer: Any, values: Sequence[Any]) -> Any:
    """A scope in which an optimizer's variables have these values."""
    pairs = zip(optimizer.variables, values, strict=True)
    return keras.StatelessScope(state_mapping=list(pairs))


def _step_result(
    model: Any, updates: tuple, data: tuple, trainable: Any, of_optimizer: Any
) -> tuple:
    """What a step returns, and the metrics of its batch."""
    x, y, sample_weight = data
    loss, y_pred, non_trainable, metrics = updates
    logs, metrics = update_metrics(model, metrics, loss, x, y, y_pred, sample_weight)
    return logs, (trainable, non_trainable, of_optimizer, metrics)


def _loss_and_updates(model: Any, state: tuple, data: tuple) -> tuple:
    trainable, non_trainable, of_optimizer, metrics = state
    return model.compute_loss_and_updates(
        trainable,
        non_trainable,
        metrics,
        *data,
        training=True,
        optimizer_variables=of_optimizer,
    )


def _loss_of(model: keras.Model, by_row: list[int], state: tuple, data: tuple) -> Callable:
    """The loss of a step as a function of dense variables, tables and their look-ups."""

    def loss_of(dense: list, of_tables: list, lookups: RecordedLookups) -> tuple:
        values = list(dense)
        for i, value in zip(by_row, of_tables, strict=True):
            values[i] = value
        with lookups:
            loss, updates = _loss_and_updates(model, (values, *state[1:]), data)
        return loss, (updates, lookups.ids)

    return loss_of


def _record(loss_of: Callable, dense: list, of_tables: list, tables: list) -> RecordedLookups:
    """The look-ups of a step, from a trace in which nothing may read a table in another way."""
    import jax

    recorded = RecordedLookups(tables)
    if not tables:
        return recorded
    traced = jax.make_jaxpr(lambda d, t: loss_of(d, t, recorded)[0])(dense, of_tables).jaxpr
    read = {id(v) for equation in traced.eqns for v in equation.invars}
    inputs = traced.invars[len(traced.invars) - len(tables) :]
    for table, value in zip(tables, inputs, strict=True):
        if id(value) in read:
            raise ValueError(
                f"The loss reads table `{table.path}` besides looking its rows up, which would be "
                f"left out of its gradient. Train it densely: row_updates_from={table.shape[0] + 1}"
                " in its optimizer."
            )
    return recorded


def _of_table(table: Any, looked_up: list, of_rows: list, ids: list) -> RowGradient | None:
    """The gradients of all look-ups of a table, one below the other; None if there is none."""
    import jax.numpy as jnp

    mine = [k for k, variable in enumerate(looked_up) if variable is table]
    if not mine:
        return None
    values = jnp.concatenate([of_rows[k].reshape(-1, table.shape[1]) for k in mine])
    indices = jnp.concatenate([ids[k].reshape(-1) for k in mine])
    return RowGradient(on_every_device(values), on_every_device(indices))
