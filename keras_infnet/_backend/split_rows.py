"""Tensors of one user and many candidates in two parts, so that products read the user's once."""

import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from keras import ops
from keras.backend import standardize_dtype

_WHOLE: contextvars.ContextVar[dict[int, "Split"] | None] = contextvars.ContextVar(
    "split_rows", default=None
)


class Split:
    """A tensor `(rows, columns, ...)`, of which some columns are equal in all rows: the user's.

    Args:
        user: Those columns, `(1, ...)`; None where there are none.
        others: The other columns, `(rows, ...)`; None where there are none.
        of_user: Which of all columns are the user's, bool `(columns,)`.
    """

    def __init__(self, user: Any, others: Any, of_user: np.ndarray) -> None:
        self.user, self.others, self.of_user = user, others, of_user

    @functools.cached_property
    def whole(self) -> Any:
        """The tensor itself, of which `product` and `dense` know the parts."""
        rows, parts, used = ops.shape(self.others)[0], [], {True: 0, False: 0}
        for of_user, run in itertools.groupby(self.of_user.tolist()):
            start = used[of_user]
            used[of_user] = stop = start + len(list(run))
            part = (self.user if of_user else self.others)[:, start:stop]
            once = (1,) * (len(part.shape) - 1)
            parts.append(ops.tile(part, (rows, *once)) if of_user else part)
        whole, known = ops.concatenate(parts, axis=1), _WHOLE.get()
        if known is not None:
            known[id(whole)] = self
        return whole

    def total(self, function: Callable[[Any], Any]) -> Any:
        """`sum_j function(x[:, j])`, element by element."""
        with place_of([self.user]):
            once = ops.sum(function(self.user), axis=1)
        return ops.sum(function(self.others), axis=1) + once

    def product(self, kernel: Any, bias: Any = None) -> Any:
        """`x @ kernel + bias` of `(rows, columns)`.

        Args:
            kernel: A weight `(columns, units)`.
            bias: A weight `(units,)`. Defaults to `None`: there is none.
        """
        dtype = self.others.dtype
        with place_of([self.user]):
            # Beside zeros: all of the kernel is read where it lies, and none of it copied.
            columns = np.where(self.of_user, np.cumsum(self.of_user), 0).astype("int32")
            beside = ops.concatenate([ops.zeros_like(self.user[:, :1]), self.user], axis=1)
            once = ops.matmul(ops.take(beside, columns, axis=1), ops.cast(kernel, dtype))
            once = once if bias is None else once + ops.cast(bias, dtype)
        return ops.matmul(self.others, _rows(ops.cast(kernel, dtype), ~self.of_user)) + once


@contextlib.contextmanager
def known_splits() -> Iterator[None]:
    """In its context, the `whole` of a `Split` is known as such."""
    token = _WHOLE.set({})
    try:
        yield
    finally:
        _WHOLE.reset(token)


def split_of(x: Any) -> Split | None:
    """The parts of a tensor, where they are known."""
    return x if isinstance(x, Split) else (_WHOLE.get() or {}).get(id(x))


def product(x: Any, kernel: Any) -> Any:
    """`x @ kernel` with a weight: of one user and many candidates, the user's part once."""
    split = split_of(x)
    if split is None or len(split.others.shape) != 2:
        return ops.matmul(x, kernel)
    return split.product(kernel)


def total(x: Any, function: Callable[[Any], Any] = lambda x: x) -> Any:
    """`sum_j function(x[:, j])`: of one user and many candidates, the user's part once."""
    split = split_of(x)
    return ops.sum(function(x), axis=1) if split is None else split.total(function)


def dense(layer: Any, x: Any) -> Any:
    """What a `keras.layers.Dense` gives: of one user and many candidates, the user's part once.

    One that is quantized rounds by the largest of a whole row, and reads all of it.
    """
    split = split_of(x)
    if split is None:
        return layer(x)
    is_quantized = getattr(layer, "quantization_mode", None) is not None
    is_cast = layer.compute_dtype != standardize_dtype(split.others.dtype)
    if is_quantized or is_cast or len(split.others.shape) != 2:
        return layer(split.whole)
    return layer.activation(split.product(layer.kernel, layer.bias))


def place_of(tensors: Iterable[Any]) -> AbstractContextManager[Any]:
    """Where all of some tensors are computed: on TensorFlow, outside of a loop over candidates.

    In it these tensors can be read, and weights.
    """
    graphs = {id(x.graph): x.graph for x in tensors if hasattr(x, "graph")}
    return next(iter(graphs.values())).as_default() if len(graphs) == 1 else nullcontext()


def _rows(kernel: Any, chosen: np.ndarray) -> Any:
    places = np.flatnonzero(chosen)
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 == len(places):
        return kernel[first : last + 1]
    return ops.take(kernel, places.astype("int32"), axis=0)
