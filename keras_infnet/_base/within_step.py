"""Within a step: what metrics may leave for later while a model trains or is evaluated."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

Step = Literal["train", "test"]
_step: ContextVar[Step | None] = ContextVar("step", default=None)


@contextlib.contextmanager
def within_step(step: Step) -> Iterator[None]:
    """In its context, a step of training or of evaluation is traced, or run."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


def step_now() -> Step | None:
    """The kind of step that is traced or run; None between steps."""
    return _step.get()
