"""Within a step: what metrics may leave for later while a model trains or is evaluated."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal

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
    """The kind of step that is traced or run; None between steps.

    A model that is not ours trains in what Keras calls its `train_step`.
    """
    now = _step.get()
    if now is not None:
        return now[0]
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "train_step":
            return "train"
        frame = frame.f_back
    return None


def after_step(receive: Callable[[Any], None], rows: Any) -> bool:
    """Asks for a tensor as an array after the step; False where no step of ours runs."""
    now = _step.get()
    if now is not None:
        now[1].append((receive, rows))
    return now is not None
