"""Labels of batches that know their lists: the codes beside them, what fills a batch up."""

from collections.abc import Collection, Mapping
from typing import Any

from keras import ops

from keras_infnet.losses.list_loss import ListLoss
from keras_infnet.schema.list_key import FILLS_UP, LIST_CODES


def without_lists(y: Any) -> tuple[Any, Any]:
    """Labels by task, and codes `(batch, 1)` of the rows' lists; `None` where there are none."""
    if not issubclass(type(y), Mapping) or LIST_CODES not in y:
        return y, None
    return {task: labels for task, labels in y.items() if task != LIST_CODES}, y[LIST_CODES]


def without_fill(
    y: Mapping[str, Any], sample_weight: Any, lists: Any, in_lists: Collection[str]
) -> dict[str, Any]:
    """Weights by which Keras's mean over a batch is that over its rows, without those that fill up.

    Args:
        y: Labels by task.
        sample_weight: Weights by task, of all tasks, or `None`.
        lists: Codes of the lists, `(batch, 1)`.
        in_lists: Tasks whose loss counts rows by itself.
    """
    there = ops.cast(ops.not_equal(lists, FILLS_UP), "float32")
    scale = there / ops.maximum(ops.mean(there), 1e-6)
    weights = sample_weight if issubclass(type(sample_weight), Mapping) else {}
    of_all = there if sample_weight is None or weights else sample_weight
    weights = {task: weights.get(task, of_all) for task in y}
    return {
        task: weight
        if task in in_lists
        else ops.reshape(ops.cast(weight, "float32"), (-1, 1)) * scale
        for task, weight in weights.items()
    }


def labels_with_lists(
    model: str, y: Any, lists: Any, losses: Mapping[str, ListLoss], members: int
) -> dict[str, Any]:
    """Labels by task, those of list losses with the rows' lists: `(members * batch, 2)`.

    Args:
        model: Name of the model's class, for messages.
        y: Labels by task, of all members one below the other; those of an only task need no name.
        lists: Codes `(batch, 1)`, or `None`.
        losses: List losses by task.
        members: Number of members, whose rows are never compared with each other's.

    Raises:
        ValueError: A loss needs lists, and there are none, or labels are not given by task.
    """
    if not issubclass(type(y), Mapping):
        if len(losses) > 1 or issubclass(type(y), (list, tuple)):
            raise ValueError(
                f"{model}.fit: labels are a {type(y).__name__}; with list losses expected a dict "
                "by task name."
            )
        y = dict.fromkeys(losses, y)
    for task, loss in losses.items():
        if loss.needs_lists and lists is None:
            raise ValueError(
                f"{model}.fit: the list loss of task `{task}` ({type(loss).__name__}) compares rows"
                " of one list, and the batches know no lists. Train on batches of whole lists: "
                '`RankingData(..., by="list")`, or `data.batches("train", shuffle=True, '
                'by="list")`.'
            )
    return {task: _labels(y[task], lists, losses.get(task), members) for task in y}


def _labels(labels: Any, lists: Any, loss: ListLoss | None, members: int) -> Any:
    if loss is None:
        return labels
    labels = ops.reshape(ops.cast(labels, "float32"), (-1, 1))
    rows = ops.shape(labels)[0] // members
    codes = ops.zeros_like(labels[:rows]) if lists is None else ops.cast(lists, "float32")
    if not loss.needs_lists:
        codes = ops.where(ops.equal(codes, FILLS_UP), codes, 0.0)
    after = ops.max(codes) + 1
    of_members = [ops.where(codes < 0, codes, codes + m * after) for m in range(members)]
    return ops.concatenate([labels, ops.concatenate(of_members, axis=0)], axis=1)
