"""Arguments of `compile` by task: what is given for some tasks, and the schema's for the others."""

from collections.abc import Mapping
from typing import Any

from keras_infnet.schema.schema import FeatureSchema


def losses_by_task(schema: FeatureSchema, given: Any) -> dict[str, Any]:
    """The loss of each task; `None` in a dict means none."""
    given = _by_task(schema, "loss", given)
    if given is not None and not issubclass(type(given), Mapping):
        given = dict.fromkeys(schema.task_names, given)
    given = given or {}
    return {t.name: given[t.name] if t.name in given else t.loss() for t in schema.tasks}


def weights_by_task(schema: FeatureSchema, given: Any) -> Any:
    """The weight of each task's loss."""
    given = _by_task(schema, "loss_weights", given) or {}
    if not issubclass(type(given), Mapping):
        return given
    return {t.name: given.get(t.name, t.loss_weight) for t in schema.tasks}


def metrics_by_task(schema: FeatureSchema, argument: str, given: Any) -> Any:
    """The metrics of each task; those of the schema are the weighted ones."""
    # An empty list or dict: none at all.
    if issubclass(type(given), (list, tuple, Mapping)) and not given:
        return given
    given = _by_task(schema, argument, given)
    if argument == "metrics" or not issubclass(type(given), (Mapping, type(None))):
        return given
    given = given or {}
    return {t.name: given[t.name] if t.name in given else t.metrics() for t in schema.tasks}


def _by_task(schema: FeatureSchema, argument: str, given: Any) -> Any:
    """A dict whose names are tasks; a list is that of the only task."""
    names = list(schema.task_names)
    if issubclass(type(given), (list, tuple)):
        if len(names) > 1:
            shown = ", ".join(f'"{name}": ...' for name in names)
            raise ValueError(
                f"compile: `{argument}` is a list, which Keras would hand out in the order of the "
                f"alphabet; expected a dict by task name: {argument}={{{shown}}}."
            )
        if "metrics" not in argument and len(given) != 1:
            raise ValueError(
                f"compile: `{argument}` is a list of {len(given)}; expected one for task "
                f"`{names[0]}`."
            )
        given = {names[0]: list(given) if "metrics" in argument else given[0]}
    if issubclass(type(given), Mapping):
        for name in given:
            schema.task(name)
    return given
