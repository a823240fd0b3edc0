"""Exact group AUC at the end of each epoch: groups don't fit into a compiled Keras metric."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.metrics.group_auc import WEIGHTINGS, Weighting, group_auc
from keras_infnet.metrics.group_codes import group_codes

_UNSHUFFLED = "Pass batches that are not shuffled, such as those of `RankingData.validation`."


class GroupAUCCallback(keras.callbacks.Callback):
    """Predicts a dataset at each epoch's end and adds `val_{task}_{name}` to the logs.

    Callbacks after it in the list see the value, so that `TaskPolicy(metric="gauc")` can choose by
    it. Labels, weights and predictions of one pass stay in memory: four floats a row and task. When
    training begins, the labels are read once, so that what is wrong with them is an error then.
    Rows are matched with `groups` by their place. Labels tell if the order differs from pass to
    pass; a dataset that came to us in another order than `groups`, always the same, can't be told.

    Args:
        dataset: Batched, finite and unshuffled `tf.data.Dataset` of (inputs, labels, weights);
            labels and weights are dicts task -> `(batch, 1)`, weight 0 where a label is not
            observed. The weights may be missing.
        groups: One key a row of the dataset, in its order, or several key columns; see `group_auc`.
            Rows without a key are in no group.
        tasks: Tasks to measure. Defaults to all in the labels, without those that are no
            `BinaryTask` of the model's schema.
        weighting: `"impressions"`, `"positives"` or `"uniform"`.
        name: Name of the metric in the logs.

    Raises:
        ValueError: `weighting` is unknown, or the dataset is shuffled `Batches`. When training
            begins, a task is unknown or no binary one, a label is not 0 or 1, the number of keys is
            not that of the rows, or the batches are of another encoder. After an epoch, the rows
            have another order.

    Example:
        ```python
        gauc = keras_infnet.callbacks.GroupAUCCallback(validation, groups=frame["user_id"])
        model.fit(train, validation_data=validation, callbacks=[gauc])
        ```
    """

    model: Any  # Keras sets it before training begins.

    def __init__(
        self,
        dataset: Any,
        groups: Any,
        tasks: Collection[str] | None = None,
        weighting: Weighting = "impressions",
        name: str = "gauc",
    ) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise ValueError(f"`weighting` must be one of {WEIGHTINGS}. Received: {weighting!r}")
        if getattr(dataset, "shuffled", False):
            raise ValueError(
                "GroupAUCCallback: the dataset is shuffled, so `groups` are not those of its rows. "
                + _UNSHUFFLED
            )
        self.dataset = dataset
        self.groups = group_codes(groups)
        self.tasks = None if tasks is None else tuple(tasks)
        self.weighting: Weighting = weighting
        self.name = name

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if hasattr(self.model, "check_inputs"):
            self.model.check_inputs("fit, GroupAUCCallback", self.dataset)
        self._labels, weights = self._collect()
        self._measured = self._tasks_of(self._labels)
        for task in self._measured:
            # Labels in place of predictions: what is wrong with labels and keys shows at once.
            self._group_auc(task, self._labels, self._labels, weights)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        labels, weights, predictions = self._collect(self.model.predict_on_batch)
        for task in self._measured:
            if not np.array_equal(labels[task], self._labels[task], equal_nan=True):
                raise ValueError(
                    f"GroupAUCCallback, task `{task}`: labels came in another order than when "
                    f"training began, so `groups` are not those of the rows. {_UNSHUFFLED}"
                )
            logs[f"val_{task}_{self.name}"] = self._group_auc(task, labels, predictions, weights)

    def _tasks_of(self, labels: Mapping[str, Any]) -> list[str]:
        """Names of the tasks to measure; of a schema, those whose labels are 0 and 1."""
        of_schema = getattr(getattr(self.model, "schema", None), "tasks", ())
        others = {t.name: type(t).__name__ for t in of_schema if t.monitor != "auc"}
        if self.tasks is None:
            found = [task for task in labels if task not in others]
            if not found:
                kinds = ", ".join(f"`{name}` ({kind})" for name, kind in others.items())
                raise ValueError(f"GroupAUCCallback: no task has labels of 0 and 1: {kinds}.")
            return found
        for task in self.tasks:
            problem = f"GroupAUCCallback: no task `{task}` in the labels of the dataset."
            check_known(task, labels, problem)
            if task in others:
                raise ValueError(
                    f"GroupAUCCallback: task `{task}` is a {others[task]}; expected tasks whose "
                    "labels are 0 and 1. Leave it out of `tasks`."
                )
        return list(self.tasks)

    def _group_auc(self, task: str, labels: Any, predictions: Any, weights: Any) -> float:
        columns = labels[task], predictions[task], self.groups, self.weighting, weights.get(task)
        try:
            return group_auc(*columns)
        except ValueError as error:
            raise ValueError(
                f"GroupAUCCallback, task `{task}`: {error} (`tasks=` says which are measured.)"
            ) from error

    def _collect(self, predict: Callable[[Any], Any] | None = None) -> list[dict[str, np.ndarray]]:
        """Labels, weights and predictions from one pass, so that they belong together."""
        batches = []
        for batch in self.dataset.as_numpy_iterator():
            x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
            batches.append((y, weights or {}, *([] if predict is None else [predict(x)])))
        if not batches:
            raise ValueError("GroupAUCCallback: the dataset has no batch.")
        return [
            {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
            for parts in zip(*batches, strict=True)
        ]
