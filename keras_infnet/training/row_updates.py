"""Row updates: optimizers that touch only the rows of a table that a step looks up."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.devices import layout_of_rows
from keras_infnet._backend.replicas import sum_over_replicas
from keras_infnet._backend.row_gradients import (
    is_row_gradient,
    read_rows,
    sum_duplicates,
    with_values,
    write_rows,
)
from keras_infnet._backend.row_lookups import is_table
from keras_infnet._keras_internals import decays, update_variables, variable_index

# Below, one pass over the table may cost less than finding the rows (benchmarks/vocabulary.py).
ROW_UPDATES_FROM = 524_288


class RowUpdates(keras.optimizers.Optimizer):
    """What stands before a Keras optimizer to make it update tables by rows.

    The optimizer gives `row_step`. A variable counts as a table if its layer marked it, as
    `FusedEmbedding` does, and has at least `row_updates_from` rows; all others, and a table whose
    gradient is dense, are updated by the Keras optimizer. Values of a gradient that belong to one
    id are summed first, then clipped: rows without a gradient add nothing to a norm.
    """

    def __init__(self, *args: Any, row_updates_from: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if row_updates_from < 0:
            raise ValueError(
                f"`row_updates_from` must be 0 or more rows. Received: {row_updates_from}"
            )
        self.row_updates_from = row_updates_from

    def updates_rows(self, variable: Any) -> bool:
        """Whether a variable is updated by rows."""
        return is_table(variable) and variable.shape[0] >= self.row_updates_from

    def row_step(self, ids: Any, gradient: Any, index: int, learning_rate: Any) -> Any:
        """Writes the slots' rows, and gives what is subtracted from the table's rows."""
        raise NotImplementedError

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the optimizer's variables; Keras calls it."""
        if self.built:
            return
        for variable in filter(self.updates_rows, variables):
            self._refuse_whole_tables(variable)
        super().build(variables)
        self._positions = [self._add_positions(v) for v in variables]

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Updates variables by their gradients; Keras calls it."""
        scale = self.loss_scale_factor
        if scale is None or not any(map(is_row_gradient, grads)):
            super().apply(grads, trainable_variables)
            return
        # Keras divides with `/`, which gradients of rows do not have.
        self.loss_scale_factor = None
        try:
            super().apply([_divided(g, scale) for g in grads], trainable_variables)
        finally:
            self.loss_scale_factor = scale

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; Keras calls it."""
        if not self._is_by_row(gradient, variable):
            super().update_step(gradient, variable, learning_rate)
            return
        index = variable_index(self, variable)
        rate = ops.cast(learning_rate, variable.dtype)
        values = ops.cast(gradient.values, variable.dtype)
        step = self.row_step(gradient.indices, values, index, rate)
        if self.weight_decay is not None and decays(self, variable):
            rows = read_rows(variable, gradient.indices)
            step = step + rows * ops.cast(self.weight_decay, variable.dtype) * rate
        write_rows(variable, gradient.indices, -step, add=True)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "row_updates_from": self.row_updates_from}

    def _backend_apply_gradients(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        grads = sum_over_replicas(grads)
        by_row = [self._is_by_row(g, v) for g, v in zip(grads, variables, strict=True)]
        if not any(by_row):
            super()._backend_apply_gradients(grads, variables)
            return
        grads = [
            sum_duplicates(g, self._positions[variable_index(self, v)]) if rows else g
            for rows, g, v in zip(by_row, grads, variables, strict=True)
        ]
        grads = self._clip_gradients(grads)
        dense = [v for rows, v in zip(by_row, variables, strict=True) if not rows]
        update_variables(self, grads, variables, dense)

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence[Any]) -> Sequence[Any]:
        # Summed before they were clipped: Keras clips the gradients of each device.
        return grads_and_vars

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        clipped = super()._clip_gradients([g.values if is_row_gradient(g) else g for g in grads])
        return [
            with_values(g, c) if is_row_gradient(g) else c
            for g, c in zip(grads, clipped, strict=True)
        ]

    def _is_by_row(self, gradient: Any, variable: Any) -> bool:
        known = self._positions[variable_index(self, variable)]
        return known is not None and is_row_gradient(gradient)

    def _add_positions(self, variable: Any) -> Any:
        """What `sum_duplicates` writes to: kept, as one that is made anew costs a pass over it."""
        if not self.updates_rows(variable):
            return None
        name = f"{variable.path.replace('/', '_')}_positions"
        layout = layout_of_rows(variable)
        return self.add_variable((variable.shape[0],), dtype="int32", layout=layout, name=name)

    def _refuse_whole_tables(self, table: Any) -> None:
        reads_all = {
            f"use_ema={self.use_ema}": self.use_ema,
            f"gradient_accumulation_steps={self.gradient_accumulation_steps}": (
                self.gradient_accumulation_steps
            ),
            "its regularizer": table.regularizer is not None,
            "its constraint": table.constraint is not None,
        }
        for what, is_on in reads_all.items():
            if is_on:
                raise ValueError(
                    f"{type(self).__name__} updates table `{table.path}`, of {table.shape[0]} rows,"
                    f" by rows, and {what} would read all of them in every step. Leave it out, or "
                    f"update the table densely: row_updates_from={table.shape[0] + 1}."
                )


def _divided(gradient: Any, scale: Any) -> Any:
    if is_row_gradient(gradient):
        return with_values(gradient, gradient.values / scale)
    return None if gradient is None else gradient / scale
