"""Exact group AUC at the end of each epoch: groups don't fit into a compiled Keras metric."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.metrics.group_auc import WEIGHTINGS, Weighting, group_auc
from keras_infnet.metrics.group_codes import group_codes


class GroupAUCCallback(keras.callbacks.Callback):
    """Predicts a dataset at each epoch's end and adds `val_{task}_{name}` to the logs.

    Callbacks after it in the list see the value, so that `TaskPolicy(metric="gauc")` can choose by
    it. Labels, weights and predictions of one pass stay in memory: three floats a row and task.

    Args:
        dataset: Batched, finite and unshuffled `tf.data.Dataset` of (inputs, labels, weights);
            labels and weights are dicts task -> `(batch, 1)`, weight 0 where a label is not
            observed. The weights may be missing.
        groups: One key a row of the dataset, in its order, or several key columns; see `group_auc`.
            Rows without a key are in no group.
        tasks: Tasks to measure. Defaults to all in the labels; regressions must be left out.
        weighting: `"impressions"`, `"positives"` or `"uniform"`.
        name: Name of the metric in the logs.

    Raises:
        ValueError: `weighting` or a task is unknown, or the number of keys is not that of the
            dataset's rows.

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
        self.dataset = dataset
        self.groups = group_codes(groups)
        self.tasks = None if tasks is None else tuple(tasks)
        self.weighting: Weighting = weighting
        self.name = name

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if hasattr(self.model, "check_inputs"):
            self.model.check_inputs("fit, GroupAUCCallback", self.dataset)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        labels, weights, predictions = self._collect()
        for task in labels if self.tasks is None else self.tasks:
            if task not in labels:
                raise ValueError(
                    f"GroupAUCCallback: no task `{task}` in the labels of the dataset."
                    + did_you_mean(task, labels)
                )
            try:
                value = group_auc(
                    labels[task], predictions[task], self.groups, self.weighting, weights.get(task)
                )
            except ValueError as error:
                raise ValueError(f"GroupAUCCallback, task `{task}`: {error}") from error
            logs[f"val_{task}_{self.name}"] = value

    def _collect(self) -> tuple[dict[str, np.ndarray], ...]:
        """Labels, weights and predictions from one pass, so that they belong together."""
        batches = []
        for batch in self.dataset.as_numpy_iterator():
            x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
            batches.append((y, weights or {}, self.model.predict_on_batch(x)))
        if not batches:
            raise ValueError("GroupAUCCallback: the dataset has no batch.")
        return tuple(
            {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
            for parts in zip(*batches, strict=True)
        )
