"""One user and many candidates: what no candidate changes is computed once."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.split_rows import Split, known_splits, place_of
from keras_infnet._keras_internals import calls_in_order
from keras_infnet.models.split_calls import split_call

Values = MutableMapping[int, Any]


class OneUser:
    """The part of a functional model that depends on its shared inputs alone.

    `OneUser(model, shared)(candidates)` gives what the model gives for the candidates' inputs and
    the shared ones repeated for each of them, up to rounding. An operation whose inputs are all
    shared runs once, when this is made; one that reads both gets its shared inputs repeated, or as
    they are if it is a layer that takes them so (`takes_shared_rows`).

    Packed inputs hold fields of the user beside those of the item. Where `of_user` tells them
    apart, so do the tensors that are made of them (`Split`): what reads the user's fields alone
    runs once, and a product with a weight multiplies his columns once.

    Args:
        model: A functional model, which may hold others.
        shared: Inputs of batch 1, by name: those of the user. Of a packed input that `of_user`
            names, the user's columns.
        of_user: By name of a packed input, which of its columns are the user's, bool `(columns,)`;
            the candidates have the other columns. Defaults to none.
        kept: Values of tensors of the graph in place of the inputs that they are made of, as
            `values` gave them: pairs of the symbolic tensor and its value. Defaults to none.
    """

    def __init__(
        self,
        model: Any,
        shared: Mapping[str, Any],
        of_user: Mapping[str, np.ndarray] | None = None,
        kept: Iterable[tuple[Any, Any]] = (),
    ) -> None:
        self._model, self._of_user = model, of_user or {}
        self._packed = {name: x for name, x in shared.items() if name in self._of_user}
        self._shared: Values = {
            id(model.input[name]): x for name, x in shared.items() if name not in self._of_user
        }
        self._shared |= {id(tensor): x for tensor, x in kept}
        _run(model, self._shared, {}, 1)

    def values(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """By name, the values of symbolic tensors that depend on the shared inputs alone."""
        return {name: self._shared[id(x)] for name, x in tensors.items()}

    def __call__(self, candidates: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name for the other inputs, `(candidates, ...)`; at least one must be given."""
        model, shared = self._model, ChainMap({}, self._shared)
        varying = {id(model.input[name]): x for name, x in candidates.items()}
        rows = ops.shape(next(iter(candidates.values())))[0]
        for name, of_user in self._of_user.items():
            split = Split(self._packed[name], candidates[name], of_user)
            varying[id(model.input[name])] = split
        with known_splits():
            _run(model, shared, varying, rows)
        return {
            name: _whole(varying[id(x)]) if id(x) in varying else _repeated(shared[id(x)], rows)
            for name, x in model.output.items()
        }


def _run(graph: keras.Model, shared: Values, varying: Values, rows: Any) -> None:
    """Adds the values of all tensors of a graph that can be computed from those that are there."""
    for node in calls_in_order(graph):
        if all(id(x) in shared or id(x) in varying for x in node.outputs):
            continue
        if isinstance(node.operation, keras.Model):
            _copy(node.input_tensors, node.operation.inputs, shared, varying)
            _run(node.operation, shared, varying, rows)
            _copy(node.operation.outputs, node.outputs, shared, varying)
        elif has_equal_rows(node):
            inputs = {id(x): ops.zeros((1, *x.shape[1:]), x.dtype) for x in node.input_tensors}
            _keep(node, _call(node, inputs), shared)
        elif all(id(x) in shared for x in node.input_tensors):
            with place_of(shared[id(x)] for x in node.input_tensors):
                _keep(node, _call(node, shared), shared)
        elif all(id(x) in shared or id(x) in varying for x in node.input_tensors):
            _run_call(node, shared, varying, rows)


def _run_call(node: Any, shared: Values, varying: Values, rows: Any) -> None:
    """Adds the values of what an operation gives that reads a candidate."""
    split = split_call(node, shared, varying)
    if split is not None:
        (symbol,) = node.outputs
        if split.others is None:
            shared[id(symbol)] = split.user
        else:
            varying[id(symbol)] = split.others if split.user is None else split
        return
    outputs = keras.tree.flatten(_call(node, _inputs(node, shared, varying, rows)))
    for symbol, tensor in zip(node.outputs, outputs, strict=True):
        # Of one row: read in shared inputs alone.
        (shared if tensor.shape[0] == 1 else varying)[id(symbol)] = tensor


def _inputs(node: Any, shared: Values, varying: Values, rows: Any) -> Values:
    """Values of what an operation reads, of which some are shared."""
    as_they_are = getattr(node.operation, "takes_shared_rows", False)
    return {
        id(x): _whole(varying[id(x)])
        if id(x) in varying
        else (shared[id(x)] if as_they_are else _repeated(shared[id(x)], rows))
        for x in node.input_tensors
    }


def _whole(value: Any) -> Any:
    return value.whole if isinstance(value, Split) else value


def has_equal_rows(node: Any) -> bool:
    """Whether an operation gives the same for any rows: learned tokens, or whole tables."""
    return bool(
        getattr(node.operation, "has_equal_rows", False) or node.arguments.kwargs.get("whole")
    )


def _call(node: Any, values: Values) -> Any:
    arguments, keywords = node.arguments.fill_in(values)
    return node.operation(*arguments, **keywords)


def _keep(node: Any, outputs: Any, values: Values) -> None:
    tensors = keras.tree.flatten(outputs)
    values.update(zip(map(id, node.outputs), tensors, strict=True))


def _copy(sources: list[Any], targets: list[Any], shared: Values, varying: Values) -> None:
    """Values of the inputs or outputs of a graph inside another, where they are there."""
    for source, target in zip(sources, targets, strict=True):
        for values in (shared, varying):
            if id(source) in values:
                values[id(target)] = values[id(source)]


def _repeated(tensor: Any, rows: Any) -> Any:
    """One user's part of the batch, once for each candidate."""
    return ops.tile(tensor, (rows, *(1 for _ in tensor.shape[1:])))
