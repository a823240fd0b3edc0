"""Within a step: what metrics may leave for later while a model trains or is evaluated."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal

import keras

Step = Literal["train", "test"]
# Who wants rows on the host, and the tensor of them.
Handed = list[tuple[Callable[[Any], None], Any]]
_step: ContextVar[tuple[Step, Handed] | None] = ContextVar("step", default=None)


@contextlib.contextmanager
def within_step(step: Step) -> Iterator[Handed]:
    """In its context, a step of training or of evaluation is traced, or run.

    Yields:
        What metrics ask for by `after_step`; who runs the step hands it to the host.
    """
    handed: Handed = []
    token = _step.set((step, handed))
    try:
        yield handed
    finally:
        _step.reset(token)


def step_now() -> Step | None:
    """The kind of step of ours that is traced or run, or `"train"` of another Keras model.

    None else: in another model's evaluation, a loop of the user's own, and between steps.
    """
    now = _step.get()
    if now is not None:
        return now[0]
    return "train" if _other_model_trains() else None


def _other_model_trains() -> bool:
    """Whether this is called from a model's `train_step`, and no `test_step` within it.

    Keras tells a metric nothing of the step: it updates metrics alike in both, after the model's
    call and its `training=`, outside of tape and gradient. Its documentation names these two
    methods alone, of which `fit` and `evaluate` call one. A function of the name is none.
    """
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name in ("train_step", "test_step") and code.co_argcount:
            if isinstance(frame.f_locals.get(code.co_varnames[0]), keras.Model):
                return code.co_name == "train_step"
        frame = frame.f_back
    return False


def after_step(receive: Callable[[Any], None], rows: Any) -> bool:
    """Asks for a tensor as an array after the step; False where no step of ours runs."""
    now = _step.get()
    if now is not None:
        now[1].append((receive, rows))
    return now is not None
