"""Row look-ups: which tables a training step updates by rows, and how it reads them."""

import contextvars
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras

_ACTIVE: contextvars.ContextVar["RowLookups | None"] = contextvars.ContextVar(
    "row_lookups", default=None
)


def mark_as_table(variable: Any) -> None:
    """Says of a variable that it is read by `embedding_lookup` alone."""
    variable.is_embedding_table = True


def is_marked(variable: Any) -> bool:
    """Whether a variable is read by `embedding_lookup` alone."""
    return getattr(variable, "is_embedding_table", False)


def is_table(variable: Any) -> bool:
    """Whether a variable was marked, and is trained."""
    return is_marked(variable) and variable.trainable


class RowLookups:
    """In its context, look-ups of these tables give gradients of rows.

    Args:
        tables: Variables that the optimizer updates by rows.
    """

    # Whether frozen rows lie in the tables themselves, and not beside them.
    has_frozen_rows = False

    def __init__(self, tables: Sequence[Any]) -> None:
        self.tables = list(tables)

    def __enter__(self) -> Self:
        self._token = _ACTIVE.set(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _ACTIVE.reset(self._token)

    def add_computed(self, table: Any, look_up: Callable[[Any], Any]) -> None:
        """Takes note of how rows alone of a table are computed; a training step computes all."""
        return

    def look_up(self, table: Any, ids: Any) -> Any:
        """Rows `ids.shape + (dim,)`."""
        import tensorflow as tf

        # A gather from the variable itself has the gradient of its rows alone.
        return tf.gather(table.value, ids)


class RecordedLookups(RowLookups):
    """JAX: adds zeros to the rows of each look-up; their gradient is that of the rows.

    Args:
        tables: Variables that the optimizer updates by rows.
        added: What is added to each look-up, in their order. Without it the look-ups are only
            counted: they give zeros, and `shapes` is written.
    """

    def __init__(self, tables: Sequence[Any], added: Sequence[Any] | None = None) -> None:
        super().__init__(tables)
        self.added = added
        self.looked_up: list[Any] = []
        self.ids: list[Any] = []
        self.shapes: list[Any] = []

    def __enter__(self) -> Self:
        self._trace = _trace()
        return super().__enter__()

    def look_up(self, table: Any, ids: Any) -> Any:
        """Rows `ids.shape + (dim,)`."""
        import jax
        import jax.numpy as jnp

        if _trace() != self._trace:
            raise ValueError(
                f"Table `{table.path}` is looked up inside jit, remat, scan, cond or vmap, where "
                "gradients of its rows can't be recorded. Look its rows up outside, or train it "
                f"densely: row_updates_from={table.shape[0] + 1} in its optimizer."
            )
        ids = jnp.asarray(ids)
        shape = (*ids.shape, table.shape[1])
        place = len(self.ids)
        self.looked_up.append(table)
        self.ids.append(ids)
        self.shapes.append(jax.ShapeDtypeStruct(shape, table.dtype))
        if self.added is None:
            return jnp.zeros(shape, table.dtype)
        return table.value.at[ids].get(mode="promise_in_bounds") + self.added[place]


def row_lookups(table: Any) -> RowLookups | None:
    """The context in which look-ups of this table are now, if there is one."""
    active = _ACTIVE.get()
    if active is not None and any(table is known for known in active.tables):
        return active
    return None


def computed_table(table: Any, look_up: Callable[[Any], Any]) -> Any:
    """The table, of which the context may look rows up alone: `look_up(ids)` is `table[ids]`."""
    if (active := _ACTIVE.get()) is not None:
        active.add_computed(table, look_up)
    return table


def tables_by_row(optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Those of a model's variables that its optimizer updates by rows."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    updates_rows = getattr(optimizer, "updates_rows", None)
    return [v for v in variables if updates_rows(v)] if updates_rows else []


def _trace() -> Any:
    import jax.extend

    return jax.extend.core.get_opaque_trace_state(convention="flax")
