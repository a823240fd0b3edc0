"""Operations on tensors of one user and many candidates: what they give of each part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.split_rows import Split, dense, place_of
from keras_infnet.layers.configured_layer import joined


def split_call(node: Any, shared: Mapping[int, Any], varying: Mapping[int, Any]) -> Split | None:
    """What an operation gives in parts of which each is computed by itself, where it has a rule.

    Args:
        node: A call of a functional model's graph.
        shared: Values by id of the symbolic tensor, the same for all candidates.
        varying: Values of each candidate, some of them a `Split`.

    Returns:
        The output, of which one part may be None; None where there is no rule.
    """
    operation, inputs = node.operation, node.input_tensors
    if type(operation).__name__ == "Concatenate":
        return _side_by_side(operation.axis, inputs, shared, varying)
    values = [varying.get(id(x)) for x in inputs]
    read = [x for x in values if isinstance(x, Split)]
    if len(read) < len(values):
        return None
    if hasattr(operation, "columns_by_table"):
        return _embedded(operation, read[0], node.arguments.kwargs["tables"])
    if type(operation) is keras.layers.Dense and len(inputs[0].shape) == 2:
        return Split(None, dense(operation, read[0]), read[0].of_user)
    rule = _RULES.get(type(operation).__name__)
    return None if rule is None else rule(node, *read)


def _in_parts(
    function: Callable[..., Any], user: Sequence[Any] | None, others: Sequence[Any] | None
) -> tuple[Any, Any]:
    """The function of the user's arguments and of the others'; None for those that are None."""
    of_others = None if others is None else function(*others)
    if user is None:
        return None, of_others
    with place_of(keras.tree.flatten(user)):
        return function(*user), of_others


def _side_by_side(
    axis: int, inputs: Sequence[Any], shared: Mapping[int, Any], varying: Mapping[int, Any]
) -> Split | None:
    """Concatenation of columns."""
    rank = len(inputs[0].shape)
    if axis % rank != 1 or any(x.shape[1] is None for x in inputs):
        return None
    user, others, of_user = [], [], []
    for x in inputs:
        value = varying.get(id(x), shared.get(id(x)))
        if isinstance(value, Split):
            user.append(value.user)
            others.append(value.others)
            of_user.append(value.of_user)
            continue
        is_shared = id(x) not in varying
        if is_shared and value.shape[0] != 1:
            return None
        (user if is_shared else others).append(value)
        of_user.append(np.full(x.shape[1], is_shared))
    if not user:
        return None
    parts = _in_parts(lambda *x: joined(x), user, others)
    return Split(*parts, np.concatenate(of_user))


def _columns(node: Any, x: Split) -> Split | None:
    """`x[:, columns, ...]`."""
    key = node.arguments.args[1]
    if not isinstance(key, tuple) or len(key) < 2 or key[0] != slice(None):
        return None
    _, columns, *more = key
    if not isinstance(columns, int | slice) or getattr(columns, "step", None) not in (None, 1):
        return None
    places = np.atleast_1d(np.arange(len(x.of_user))[columns])
    if not len(places):
        return None

    def part(values: Any, of_part: np.ndarray) -> Any:
        start, number = int(of_part[: places[0]].sum()), int(of_part[places].sum())
        if not number:
            return None
        here = start if isinstance(columns, int) else slice(start, start + number)
        return values, (slice(None), here, *more)

    parts = _in_parts(
        lambda values, index: values[index], part(x.user, x.of_user), part(x.others, ~x.of_user)
    )
    return Split(*parts, x.of_user[places])


def _flat(node: Any, x: Split) -> Split | None:
    """`(rows, columns, dim)` as `(rows, columns * dim)`."""
    before, after = node.input_tensors[0].shape, node.outputs[0].shape
    if len(before) != 3 or len(after) != 2 or after[1] != np.prod(before[1:]):
        return None
    of_user = np.repeat(x.of_user, before[2])
    size = int(of_user.sum())
    user, others = (x.user, (-1, size)), (x.others, (-1, len(of_user) - size))
    return Split(*_in_parts(ops.reshape, user, others), of_user)


def _each(node: Any, *read: Split) -> Split | None:
    """An operation on each column by itself, or on equal columns of several tensors."""
    symbols, of_user = node.input_tensors, read[0].of_user
    one_rank = len({len(x.shape) for x in symbols}) == 1
    if not one_rank or not all(np.array_equal(x.of_user, of_user) for x in read):
        return None

    def call(*values: Any) -> Any:
        of_symbols = dict(zip(map(id, symbols), values, strict=True))
        arguments, keywords = node.arguments.fill_in(of_symbols)
        return node.operation(*arguments, **keywords)

    user, others = ([x.user for x in read], [x.others for x in read])
    return Split(*_in_parts(call, user, others), of_user)


def _embedded(layer: Any, x: Split, tables: Sequence[str]) -> Split:
    """Look-ups by column: `(rows, columns)` becomes `(rows, tables, dim)`."""
    first = np.cumsum([0, *layer.columns_by_table(tables)])[:-1]
    of_user = x.of_user[first]

    def part(values: Any, chosen: np.ndarray) -> tuple[Any, tuple[str, ...]]:
        return values, tuple(t for t, there in zip(tables, chosen, strict=True) if there)

    def look_up(values: Any, tables: tuple[str, ...]) -> Any:
        return layer(values, tables=tables)

    return Split(*_in_parts(look_up, part(x.user, of_user), part(x.others, ~of_user)), of_user)


# By the name of the operation's class, as Keras has it.
_RULES: dict[str, Callable[..., Split | None]] = {
    "GetItem": _columns,
    "Reshape": _flat,
    "Add": _each,
    # Of tokens; `(rows, columns)` have been multiplied before.
    "Dense": _each,
}
