"""State of a user: the few tensors of a model's graph that the candidates' part reads of his."""

import itertools
import re
from collections.abc import Collection
from typing import Any

import keras

from keras_infnet._keras_internals import calls_in_order
from keras_infnet.models.one_user import has_equal_rows

# Operations that change nothing but the shape: who has their input needs no copy.
_RESHAPING = ("Reshape", "ExpandDims", "Squeeze")
# What a tensor depends on: weights alone, the user's inputs at most, or others too.
_LEARNED, _USER, _OTHERS = range(3)


def state_tensors(model: Any, inputs: Collection[str]) -> dict[str, Any]:
    """The frontier of a user's part: what operations outside it read of it, each once.

    Learned tokens and whole tables are no part of it. Names follow from those of the layers, and
    are the same for each model of the same arguments.

    Args:
        model: A functional model, which may hold others.
        inputs: Names of the inputs that are the user's.

    Returns:
        Symbolic tensors by name, in the order of the graph.
    """
    frontier = _Frontier()
    for name, x in model.input.items():
        frontier.add_input(x, name, _USER if name in inputs else _OTHERS)
    frontier.walk(model)
    for x in model.output.values():
        frontier.read(x)
    return frontier.named()


class _Frontier:
    """Walks a graph, and collects the tensors of the user that anything else reads."""

    def __init__(self) -> None:
        self._kinds: dict[int, int] = {}
        self._names: dict[int, str] = {}
        # By id: the tensor that holds the same numbers.
        self._same: dict[int, Any] = {}
        self._found: dict[int, Any] = {}

    def add_input(self, x: Any, name: str, kind: int) -> None:
        self._kinds[id(x)], self._names[id(x)] = kind, name

    def walk(self, graph: keras.Model) -> None:
        for node in calls_in_order(graph):
            if isinstance(node.operation, keras.Model):
                self._alias(node.input_tensors, node.operation.inputs)
                self.walk(node.operation)
                self._alias(node.operation.outputs, node.outputs)
                continue
            kinds = [self._kinds[id(x)] for x in node.input_tensors]
            kind = _LEARNED if has_equal_rows(node) else max(kinds)
            for x in node.outputs:
                self._kinds[id(x)], self._names[id(x)] = kind, _stable_name(node.operation)
            if kind == _OTHERS:
                for x in node.input_tensors:
                    self.read(x)
            elif type(node.operation).__name__ in _RESHAPING:
                self._alias(node.input_tensors[:1], node.outputs)

    def read(self, x: Any) -> None:
        if self._kinds[id(x)] == _USER:
            first = self._same.get(id(x), x)
            self._found[id(first)] = first

    def named(self) -> dict[str, Any]:
        tensors: dict[str, Any] = {}
        for x in self._found.values():
            name = self._names[id(x)]
            numbered = (f"{name}_{i}" for i in itertools.count(1))
            tensors[next(n for n in itertools.chain([name], numbered) if n not in tensors)] = x
        return tensors

    def _alias(self, sources: list[Any], targets: list[Any]) -> None:
        for source, target in zip(sources, targets, strict=True):
            self._kinds[id(target)] = self._kinds[id(source)]
            self._same[id(target)] = self._same.get(id(source), source)


def _stable_name(operation: Any) -> str:
    """An operation's name, without the number that Keras gives to one without a name."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
    return kind if re.fullmatch(rf"{kind}_\d+", operation.name) else operation.name
