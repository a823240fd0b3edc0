"""One user and many candidates: what no candidate changes is computed once."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import keras
from keras import ops

from keras_infnet._keras_internals import calls_in_order

Values = MutableMapping[int, Any]


class OneUser:
    """The part of a functional model that depends on its shared inputs alone.

    `OneUser(model, shared)(candidates)` gives what the model gives for the candidates' inputs and
    the shared ones repeated for each of them, up to rounding. An operation whose inputs are all
    shared runs once, when this is made; one that reads both gets its shared inputs repeated, or as
    they are if it is a layer that takes them so (`takes_shared_rows`).

    Packed inputs hold fields of the user beside those of the item. With `one_context` what reads
    no field of the item's (`has_no_candidate`) runs for the first candidate alone.

    Args:
        model: A functional model, which may hold others.
        shared: Inputs of batch 1, by name: those of the user.
        one_context: Whether the fields of user and context are the same in all rows, of which there
            is at least one. Defaults to `False`.
        kept: Values of tensors of the graph in place of the inputs that they are made of, as
            `values` gave them: pairs of the symbolic tensor and its value. Defaults to none.
    """

    def __init__(
        self,
        model: Any,
        shared: Mapping[str, Any],
        one_context: bool = False,
        kept: Iterable[tuple[Any, Any]] = (),
    ) -> None:
        self._model, self._one_context = model, one_context
        self._shared: Values = {id(model.input[name]): x for name, x in shared.items()}
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
        _run(model, shared, varying, rows, self._one_context)
        return {
            name: varying[id(x)] if id(x) in varying else _repeated(shared[id(x)], rows)
            for name, x in model.output.items()
        }


def _run(
    graph: keras.Model, shared: Values, varying: Values, rows: Any, one_context: bool = False
) -> None:
    """Adds the values of all tensors of a graph that can be computed from those that are there."""
    for node in calls_in_order(graph):
        if id(node.outputs[0]) in shared or id(node.outputs[0]) in varying:
            continue
        if isinstance(node.operation, keras.Model):
            _copy(node.input_tensors, node.operation.inputs, shared, varying)
            _run(node.operation, shared, varying, rows, one_context)
            _copy(node.operation.outputs, node.outputs, shared, varying)
        elif has_equal_rows(node):
            inputs = {id(x): ops.zeros((1, *x.shape[1:]), x.dtype) for x in node.input_tensors}
            _keep(node, _call(node, inputs), shared)
        elif all(id(x) in shared for x in node.input_tensors):
            _keep(node, _call(node, shared), shared)
        elif all(id(x) in shared or id(x) in varying for x in node.input_tensors):
            first = one_context and getattr(node.operation, "has_no_candidate", False)
            inputs = _first(node, varying) if first else _inputs(node, shared, varying, rows)
            outputs = keras.tree.flatten(_call(node, inputs))
            for symbol, tensor in zip(node.outputs, outputs, strict=True):
                # Of one row: read in shared inputs alone, or in those of the first candidate.
                (shared if tensor.shape[0] == 1 else varying)[id(symbol)] = tensor


def _inputs(node: Any, shared: Values, varying: Values, rows: Any) -> Values:
    """Values of what an operation reads, of which some are shared."""
    if getattr(node.operation, "takes_shared_rows", False):
        return ChainMap(varying, shared)
    return {
        id(x): varying[id(x)] if id(x) in varying else _repeated(shared[id(x)], rows)
        for x in node.input_tensors
    }


def _first(node: Any, varying: Values) -> Values:
    """The first row of what an operation reads."""
    return {id(x): ops.take(varying[id(x)], [0], axis=0) for x in node.input_tensors}


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
