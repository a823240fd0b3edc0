"""Arguments of `compile` by task: what is given for some tasks, and the schema's for the others."""

from collections.abc import Mapping
from typing import Any

from keras_infnet.losses.list_loss import ListLoss
from keras_infnet.schema.schema import FeatureSchema


def losses_by_task(schema: FeatureSchema, given: Any, list_losses: Any = None) -> dict[str, Any]:
    """The loss of each task; `None` in a dict means none. Those of lists hold the task's own."""
    given = _by_task(schema, "loss", given)
    if given is not None and not issubclass(type(given), Mapping):
        given = dict.fromkeys(schema.task_names, given)
    given = given or {}
    losses = {t.name: given[t.name] if t.name in given else t.loss() for t in schema.tasks}
    for name, loss in _checked_list_losses(schema, list_losses).items():
        if name in given and not isinstance(given[name], ListLoss):
            raise ValueError(
                f"compile: task `{name}` has a loss and a list loss, which holds the task's cross "
                "entropy. Leave its `loss` out: a dict names the other tasks alone."
            )
        losses[name] = loss
    for name in list_losses_of(losses):
        _check_list_task(schema, name, losses[name])
    return losses


def list_losses_of(losses: Mapping[str, Any]) -> dict[str, ListLoss]:
    """Those of the losses that compare rows of lists."""
    return {name: loss for name, loss in losses.items() if isinstance(loss, ListLoss)}


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


def _checked_list_losses(schema: FeatureSchema, given: Any) -> Mapping[str, ListLoss]:
    shown = '`list_losses={"click": keras_infnet.losses.JRC()}`'
    if not issubclass(type(given), (Mapping, type(None))):
        raise ValueError(
            f"compile: list_losses is a {type(given).__name__}; expected a dict by task: {shown}."
        )
    losses: dict[str, Any] = dict(given or {})
    for name, loss in losses.items():
        schema.task(name)
        if not isinstance(loss, ListLoss):
            raise ValueError(
                f"compile: the list loss of task `{name}` is {loss!r}; expected one of "
                f"`keras_infnet.losses`: {shown}."
            )
    return losses


def _check_list_task(schema: FeatureSchema, name: str, loss: ListLoss) -> None:
    """A ValueError for a task without labels 0 and 1, or a schema without lists."""
    task, kind = schema.task(name), type(loss).__name__
    if not task.calibrates:
        raise ValueError(
            f"compile: task `{name}` is a {type(task).__name__}, and its list loss ({kind}) "
            "compares labels 0 and 1; expected a BinaryTask."
        )
    if loss.needs_lists and schema.list_key is None:
        raise ValueError(
            f"compile: the list loss of task `{name}` ({kind}) compares rows of one list, and the "
            "schema knows no lists. Say which column tells them apart: "
            '`FeatureSchema(..., list_key="impression_id")`.'
        )


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
