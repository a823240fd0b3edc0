"""TensorFlow: a step that XLA compiles where the steps to come are worth it."""

import contextlib
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_infnet._backend.compilation_cache import quiet_loading
from keras_infnet._backend.traced import part_by_xla

# Steps by which one is timed, of each shape of batches and with or without XLA.
_TIMED = 5
# Our choice, such that a wrong guess leaves XLA out: the first call with XLA takes so many times
# the first without, and a step this share.
_COMPILING = 3.0
_OF_TRAINING, _OF_INFERENCE = 0.75, 0.85


class StepsByWorth:
    """A function of steps that begins without XLA, and goes on with it where that pays.

    Batches of one shape are a program of XLA's. It is compiled as soon as
    `steps to come * seconds that XLA saves in a step > seconds of compiling`. The seconds of a step
    are measured; of compiling, too, once a shape is, and before they are in proportion to the first
    call; what XLA saves is a careful guess. Then both kinds of steps are measured, and the faster
    stays. Where nobody says how many steps come, it is as many as have been. Not worth it is a
    shape that comes once an epoch, such as the last batch.

    Both kinds give the same numbers but for float rounding.

    Args:
        step: The step of a batch.
        trains: Whether it is a training step, of which XLA saves more.
        compiles_itself: Whether `step` takes a second argument that says whether XLA compiles it,
            and has that done. Defaults to `False`: all of it is compiled here.
    """

    def __init__(
        self, step: Callable[..., Any], trains: bool = False, compiles_itself: bool = False
    ) -> None:
        self._step, self._compiles_itself = step, compiles_itself
        self._saved = 1 - (_OF_TRAINING if trains else _OF_INFERENCE)
        self._functions: dict[bool, Any] = {}
        self._shapes: dict[Any, _Shape] = {}
        self._compiling = math.inf
        self.done = self._earlier = 0
        self._until: int | None = None

    def begin_fit(self) -> None:
        """Of a model that is fitted again, as many further steps are expected as it has had."""
        self._earlier = self.done

    def expect(self, steps: int | None) -> None:
        """Says how many steps come; `None`: nobody knows."""
        self._until = None if steps is None else self.done + steps

    def __call__(self, batches: Any) -> Any:
        """The result for the next batch of an iterator, or the only one of a list."""
        batch = batches[0] if isinstance(batches, list) else next(batches)
        key = tuple(getattr(part, "shape", None) for part in keras.tree.flatten(batch))
        shape = self._shapes.setdefault(key, _Shape())
        by_xla = shape.by_xla
        if by_xla is None:
            by_xla = shape.compiled or self._pays(shape)
        start = time.perf_counter()
        is_first = by_xla not in self._functions
        if is_first:
            self._functions[by_xla] = self._traced(by_xla, batch, batches)
        with quiet_loading() if by_xla and not shape.compiled else contextlib.nullcontext():
            result = self._functions[by_xla](_without_optionals(batch))
        self.done += 1
        self._note(shape, by_xla, is_first, time.perf_counter() - start)
        return result

    def _pays(self, shape: "_Shape") -> bool:
        seconds = shape.seconds(False)
        if seconds is None:
            return False
        to_come = self.done if self._until is None else self._until - self.done + self._earlier
        of_shape = to_come * shape.steps / self.done
        return of_shape * seconds * self._saved > self._compiling

    def _note(self, shape: "_Shape", by_xla: bool, is_first: bool, seconds: float) -> None:
        shape.steps += 1
        if shape.by_xla is not None:
            return
        if by_xla and not shape.compiled:
            shape.compiled, self._compiling = True, seconds
        elif is_first:
            self._compiling = _COMPILING * seconds
        else:
            shape.timed[by_xla].append(seconds)
            shape.settle()

    def _traced(self, by_xla: bool, batch: Any, batches: Any) -> Any:
        """The function of a batch, traced once for batches of any size."""
        import tensorflow as tf

        def step(batch: Any) -> Any:
            if self._compiles_itself:
                return self._step(batch, by_xla)
            return (part_by_xla(self._step) if by_xla else self._step)(batch)

        function = tf.function(step, autograph=False, reduce_retracing=True)
        specs = getattr(batches, "element_spec", None)
        if specs is None:
            specs = keras.tree.map_structure(_any_size, batch)
        function.get_concrete_function(
            keras.tree.map_structure(_spec, _without_optionals(batch), specs)
        )
        return function


class StepsToCome(keras.callbacks.Callback):
    """Tells a model's `StepsByWorth` how many steps of a `fit` are sure to come.

    Args:
        callbacks: The others, of which an `EarlyStopping` may end training after its patience.
    """

    model: Any  # Keras sets both before training begins.
    params: Any

    def __init__(self, callbacks: Sequence[Any]) -> None:
        super().__init__()
        stopping = (c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping))
        self._patience = min((c.patience for c in stopping), default=math.inf)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._steps, self._epochs = self.params["steps"], 0
        if (by_worth := self._by_worth) is not None:
            by_worth.begin_fit()
            self._before = by_worth.done

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (by_worth := self._by_worth) is None:
            return
        if self._steps is None and self._epochs:
            self._steps = (by_worth.done - self._before) // self._epochs
        left = self.params["epochs"] - epoch
        # As many epochs as have been are as likely as those of patience are sure.
        sure = min(left, max(1 + self._patience, self._epochs))
        by_worth.expect(None if self._steps is None else int(sure * self._steps))
        self._epochs += 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if (by_worth := self._by_worth) is not None:
            by_worth.expect(None)

    @property
    def _by_worth(self) -> StepsByWorth | None:
        found = getattr(self.model, "train_function", None)
        return found if isinstance(found, StepsByWorth) else None


def with_steps_to_come(callbacks: Any, **arguments: Any) -> dict[str, Any]:
    """Arguments of a model's `fit` by name, with a `StepsToCome` behind other callbacks."""
    # A list that Keras has made is one that somebody else has put together.
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = [*callbacks, StepsToCome(callbacks)]
    return {**arguments, "callbacks": callbacks}


class _Shape:
    """Batches of one shape: how many there were, how long they took, and what is chosen."""

    def __init__(self) -> None:
        self.steps, self.compiled = 0, False
        self.by_xla: bool | None = None
        self.timed = {by_xla: deque[float](maxlen=_TIMED) for by_xla in (False, True)}

    def seconds(self, by_xla: bool) -> float | None:
        """Median of the last steps; `None` of too few."""
        timed = self.timed[by_xla]
        return statistics.median(timed) if len(timed) == _TIMED else None

    def settle(self) -> None:
        """Chooses the faster kind when both are known."""
        plain, compiled = self.seconds(False), self.seconds(True)
        if plain is not None and compiled is not None:
            self.by_xla = compiled < plain


def _without_optionals(batch: Any) -> Any:
    """A batch as steps take it: `tf.data` has an empty optional where a part is None."""
    import tensorflow as tf

    def part(value: Any) -> Any:
        return None if isinstance(value, tf.experimental.Optional) else value

    return keras.tree.map_structure(part, batch)


def _any_size(part: Any) -> Any:
    import tensorflow as tf

    shape = getattr(part, "shape", ())
    return tf.TensorSpec((None, *shape[1:]) if len(shape) else (), getattr(part, "dtype", "int32"))


def _spec(part: Any, of_dataset: Any) -> Any:
    """What a function is traced with: the shape and dtype of a tensor, or else the part itself."""
    import tensorflow as tf

    if not hasattr(part, "shape"):
        return part
    return tf.TensorSpec(of_dataset.shape, part.dtype)
