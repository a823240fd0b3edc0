"""Steps of an evaluation, after which the host has the rows that metrics ask for."""

from collections.abc import Callable
from typing import Any

import keras

from keras_infnet._backend.metric_rows import hand_to_host
from keras_infnet._backend.traced import part_by_xla
from keras_infnet._base.within_step import step_now, within_step
from keras_infnet._keras_internals import test_state_shardings


def evaluation_step(step: Callable[..., Any], arguments: tuple[Any, ...], by_xla: bool) -> Any:
    """What a step returns; what it leaves for the host is handed over.

    Args:
        step: Keras's `test_step`.
        arguments: Its arguments.
        by_xla: TensorFlow: whether XLA compiles the step, but not what hands over.
    """
    if step_now() == "test":
        # Of `jax_test_function`, which hands over.
        return step(*arguments)
    gathering = _Gathering(step)
    returned, rows = (part_by_xla(gathering) if by_xla else gathering)(*arguments)
    gathering.hand_over(rows)
    return returned


def jax_test_function(model: keras.Model) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Keras's function of `steps_per_execution` steps, whose rows are outputs of the program.

    A program that calls Python runs much slower.

    Args:
        model: A compiled model.

    Returns:
        Function of state and iterator of batches to logs and state.
    """
    import jax

    gathering = _Gathering(model.test_step)
    step: Any = gathering
    if model.jit_compile and not model.run_eagerly:
        distributed = keras.distribution.distribution() is not None
        laid_out = ((None, test_state_shardings(model)), None) if distributed else None
        step = jax.jit(gathering, donate_argnums=0, out_shardings=laid_out)

    def one_step(state: Any, iterator: Any) -> tuple[Any, Any]:
        (logs, state), rows = step(state, next(iterator))
        gathering.hand_over(rows)
        return logs, state

    def steps(state: Any, iterator: Any) -> tuple[Any, Any]:
        logs, state = one_step(state, iterator)
        try:
            for _ in range(model.steps_per_execution - 1):
                logs, state = one_step(state, iterator)
        except StopIteration:
            pass
        return logs, state

    return steps


class _Gathering:
    """A step that also returns the rows which metrics left for the host."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step = step
        self._receivers: list[Callable[[Any], None]] = []

    def __call__(self, *arguments: Any) -> tuple[Any, list[Any]]:
        with within_step("test") as handed:
            returned = self._step(*arguments)
        self._receivers = [receive for receive, _ in handed]
        return returned, [rows for _, rows in handed]

    def hand_over(self, rows: list[Any]) -> None:
        hand_to_host(list(zip(self._receivers, rows, strict=True)))
