"""Which tasks read which weights of a model, from its graph."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_infnet._keras_internals import calls_in_order, has_graph


@dataclass(frozen=True)
class WeightsOfTasks:
    """The tasks that a model's trainable variables lead to.

    Args:
        tasks_of: Names of tasks by the `id` of a variable. Variables that lie nearer to the outputs
            come first.
    """

    tasks_of: dict[int, frozenset[str]]

    def shared(self, variable: Any, number: int = 2) -> bool:
        """Whether so many tasks or more read a variable."""
        return len(self.tasks_of.get(id(variable), ())) >= number

    def owner(self, variable: Any) -> str | None:
        """The only task that reads a variable; None if several do."""
        tasks = self.tasks_of.get(id(variable), frozenset())
        return next(iter(tasks)) if len(tasks) == 1 else None

    def nearest(self, variables: list[Any]) -> Any:
        """Of some variables, the one nearest to the outputs; None if none is known."""
        place = {key: i for i, key in enumerate(self.tasks_of)}
        known = [v for v in variables if id(v) in place]
        return min(known, key=lambda v: place[id(v)], default=None)


def weights_of_tasks(model: keras.Model, tasks: tuple[str, ...]) -> WeightsOfTasks:
    """Finds the tasks of each trainable variable.

    A layer with several outputs leads from each to all of its weights; in a model inside the model
    each output is followed alone.

    Args:
        model: A functional model with a dict of outputs by task.
        tasks: Names of the tasks that count; outputs of others are not followed.

    Returns:
        The tasks by variable.
    """
    found: dict[int, frozenset[str]] = {}
    outputs: dict[str, Any] = dict(model.output)
    _follow(model, {id(outputs[task]): frozenset((task,)) for task in tasks}, found)
    return WeightsOfTasks(found)


def _follow(
    graph: keras.Model, tasks_of: dict[int, frozenset[str]], found: dict[int, frozenset[str]]
) -> None:
    """Follows a graph from outputs to inputs: `tasks_of` tensors grows, and so does `found`."""
    nobody = frozenset[str]()
    for call in reversed(list(calls_in_order(graph))):
        layer, outputs = call.operation, keras.tree.flatten(call.outputs)
        tasks = [tasks_of.get(id(tensor), nobody) for tensor in outputs]
        if not any(tasks):
            continue
        if has_graph(layer):
            inside = dict[int, frozenset[str]]()
            for tensor, mine in zip(keras.tree.flatten(layer.output), tasks, strict=True):
                inside[id(tensor)] = inside.get(id(tensor), nobody) | mine
            _follow(layer, inside, found)
            read = [inside.get(id(tensor), nobody) for tensor in keras.tree.flatten(layer.input)]
        elif getattr(layer, "passes_through", False):
            # No task reads its weights, nor what else it is given.
            read = [*tasks, *[nobody] * (len(call.input_tensors) - 1)]
        else:
            of_all = nobody.union(*tasks)
            for variable in reversed(getattr(layer, "trainable_variables", ())):
                found[id(variable)] = found.get(id(variable), nobody) | of_all
            read = [of_all] * len(call.input_tensors)
        for tensor, mine in zip(call.input_tensors, read, strict=True):
            tasks_of[id(tensor)] = tasks_of.get(id(tensor), nobody) | mine
