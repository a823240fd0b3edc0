"""Divergence: a training whose loss is no number stops, and says where and why."""

import inspect
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_infnet._base.finite import not_finite, shown_weights


class DivergenceCheck(keras.callbacks.Callback):
    """Stops `fit` with an error in the step whose loss is NaN or infinite.

    Every model of this library has it in `fit`, and so has `fit_ranker`; `fit` of another model
    takes it among its callbacks. It reads the numbers that Keras makes for its progress bar, and
    waits for no step: the error comes a few steps later, and names the one that it was.

    Raises:
        FloatingPointError: In `fit`, the loss of training, or of a validation, is NaN or infinite.

    Example:
        ```python
        model.fit(train, callbacks=[keras_infnet.callbacks.DivergenceCheck()])
        ```
    """

    # Keras calls `on_train_batch_end` in a thread of its own, where the model must not be read.
    async_safe = True
    model: Any  # Keras sets it before training begins.

    def __init__(self) -> None:
        super().__init__()
        self._found: tuple[int, Mapping[str, float]] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._found, self._before, self._in_epoch = None, 0, 0
        self._lock, self._running = threading.Lock(), set[int]()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._before, self._in_epoch = epoch, self._before + self._in_epoch, 0
        self._running.clear()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        with self._lock:
            # An earlier step may still be read in another thread.
            if self._found is not None and not any(b <= self._found[0] for b in self._running):
                raise self._step_error()
            self._running.add(batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        finite = not logs or _all_finite(logs, "loss")
        with self._lock:
            self._running.discard(max((b for b in self._running if b <= batch), default=batch))
            self._in_epoch = max(self._in_epoch, batch + 1)
            if logs and not finite and (self._found is None or batch < self._found[0]):
                self._found = batch, logs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._found is not None:
            raise self._step_error()
        for key in ("loss", "val_loss"):
            if logs and not _all_finite(logs, key):
                kind = "loss" if key == "loss" else "loss of the validation"
                where = f"after epoch {epoch + 1}, step {self._before + self._in_epoch}"
                raise self._error(f"the {kind} is {logs[key]:g} {where}", logs)

    def _step_error(self) -> FloatingPointError:
        assert self._found is not None
        batch, logs = self._found
        where = f"in step {self._before + batch + 1} (epoch {self._epoch + 1}, batch {batch + 1}"
        return self._error(f"the loss is {logs['loss']:g} {where} of it)", logs)

    def _error(self, what: str, logs: Mapping[str, float]) -> FloatingPointError:
        model = self.model
        of_tasks = [k for k in logs if k.endswith("_loss") and k not in ("loss", "val_loss")]
        bad = [
            f"{k.removesuffix('_loss')} ({logs[k]:g})" for k in of_tasks if not _all_finite(logs, k)
        ]
        tasks = f" Not finite: the loss of {', '.join(bad)}." if bad else ""
        paths = not_finite(model.weights)
        weights = f" {shown_weights(paths, len(model.weights))}." if paths else ""
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        return FloatingPointError(
            f"Training has diverged: {what}.{tasks}{weights} Lower the learning rate (it is "
            f"{rate:g}), bound the gradients with `clipnorm=1.0` in the optimizer, and look for "
            "dense columns and regression labels that are far from 1: scale them. The weights of "
            "this model are lost; earlier ones are in its checkpoints."
        )


def with_divergence_check(fit: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Arguments of a model's `fit` by name, with a `DivergenceCheck` before other callbacks."""
    given = inspect.signature(fit).bind(*args, **kwargs).arguments
    callbacks = given.get("callbacks")
    # A list that Keras has made is one that somebody else has put together.
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = [callbacks] if callable(getattr(callbacks, "set_model", None)) else callbacks
        callbacks = list(callbacks or ())
        if not any(isinstance(callback, DivergenceCheck) for callback in callbacks):
            callbacks.insert(0, DivergenceCheck())
    return {**given, "callbacks": callbacks}


def _all_finite(logs: Mapping[str, Any], key: str) -> bool:
    return key not in logs or math.isfinite(logs[key])
