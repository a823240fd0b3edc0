"""Task policy: which of two models is better, as one number a validation."""

import math
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import keras

from keras_infnet._base.did_you_mean import check_known
from keras_infnet.metrics.direction import lower_is_better

_BELOW_A_FLOOR = 1000.0


@dataclass(frozen=True)
class TaskPolicy:
    """The weighted mean of a validation metric over tasks, with floors.

    `score = sum_i w_i m_i / sum_i w_i`, with the sign changed for losses and errors, so that higher
    is better. Where tasks are below their floors, `1000 (1 + total shortfall)` is taken off: such a
    model comes after every one that keeps the floors, and before one that misses them by more. A
    metric that is NaN makes the score `-inf`.

    Args:
        metric: Name of the metric in the logs, as in `val_click_auc`; `"gauc"` with
            `GroupAUCCallback`.
        weights: Task -> weight, 0 or more; other tasks don't count. Defaults to 1 for each task
            that has the metric.
        floors: Task -> the worst acceptable value: a lower bound, or an upper bound of a loss.

    Raises:
        ValueError: A weight is negative or not finite, all are 0, or a floor is not finite.

    Example:
        >>> policy = keras_infnet.training.TaskPolicy(
        ...     weights={"click": 3, "like": 1}, floors={"like": 0.7}
        ... )
        >>> policy.score({"val_click_auc": 0.5, "val_like_auc": 0.75})
        0.5625
    """

    metric: str = "auc"
    weights: Mapping[str, float] | None = None
    floors: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        weights = {} if self.weights is None else self.weights
        bad = {task: w for task, w in weights.items() if not (_is_finite(w) and w >= 0)}
        if bad or (self.weights is not None and not any(weights.values())):
            raise ValueError(
                "TaskPolicy: weights must be finite, 0 or more, and one of them above 0. "
                f"Received: {dict(weights)}"
            )
        bad = {task: f for task, f in (self.floors or {}).items() if not _is_finite(f)}
        if bad:
            raise ValueError(f"TaskPolicy: floors must be finite numbers. Received: {bad}")

    def score(self, logs: Mapping[str, float], tasks: Collection[str] | None = None) -> float:
        """The score of one validation, higher is better.

        Args:
            logs: Keras's logs with `val_{task}_{metric}`, or `val_{metric}` of a single task.
            tasks: All tasks of the model. Defaults to those in the logs.

        Returns:
            The score.

        Raises:
            ValueError: The logs lack the metric, or a task with a weight or a floor.
        """
        values = self._values(logs, tasks)
        self.check_tasks(values)
        if any(math.isnan(value) for value in values.values()):
            return -math.inf
        sign = -1 if lower_is_better(self.metric) else 1
        weights = dict.fromkeys(values, 1.0) if self.weights is None else self.weights
        total = sum(weight * values[task] for task, weight in weights.items())
        shortfall = sum(
            max(0.0, sign * (floor - values[task])) for task, floor in (self.floors or {}).items()
        )
        penalty = _BELOW_A_FLOOR * (1 + shortfall) if shortfall else 0.0
        return sign * total / sum(weights.values()) - penalty

    def check_tasks(self, tasks: Collection[str]) -> None:
        """Raises a ValueError if a weight or a floor is of a task that is not in `tasks`."""
        for task in [*(self.weights or ()), *(self.floors or ())]:
            check_known(task, tasks, f"TaskPolicy: no task `{task}` with metric `{self.metric}`.")

    def _values(self, logs: Mapping[str, float], tasks: Collection[str] | None) -> dict[str, float]:
        named = re.compile(rf"val_(.+)_{re.escape(self.metric)}")
        values = {m[1]: float(logs[key]) for key in logs if (m := named.fullmatch(key))}
        if tasks is not None:
            values = {task: values[task] for task in tasks if task in values}
        if not values and f"val_{self.metric}" in logs:
            # Keras leaves out the name of a model's only output.
            single = next(iter(tasks or self.weights or self.floors or ["task"]))
            values = {single: float(logs[f"val_{self.metric}"])}
        if not values:
            found = ", ".join(key for key in logs if key.startswith("val_")) or "none with `val_`"
            raise ValueError(
                f"TaskPolicy: no `val_..._{self.metric}` in the logs; they hold {found}. Give fit "
                "validation data, and the policy a metric that the model was compiled with."
            )
        return values


class PolicyScore(keras.callbacks.Callback):
    """Writes a policy's score to the logs of each epoch as `val_score`, higher is better.

    Callbacks after it in the list see it: `EarlyStopping(monitor="val_score", mode="max")`,
    `ModelCheckpoint`, the history and the progress bar.

    Args:
        policy: What is better. Defaults to the mean AUC of all tasks.

    Raises:
        ValueError: When training begins, the policy has a task that the model lacks.

    Warns:
        UserWarning: A metric of the policy is NaN, so that the score is `-inf`.

    Example:
        >>> policy = keras_infnet.training.TaskPolicy(floors={"like": 0.8})
        >>> callbacks = [
        ...     keras_infnet.callbacks.PolicyScore(policy),
        ...     keras.callbacks.EarlyStopping("val_score", mode="max", restore_best_weights=True),
        ... ]
    """

    model: Any  # Keras sets it before training begins.

    def __init__(self, policy: TaskPolicy | None = None) -> None:
        super().__init__()
        self.policy = TaskPolicy() if policy is None else policy

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        tasks = task_names(self.model)
        if tasks:
            self.policy.check_tasks(tasks)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["val_score"] = self.policy.score(logs, task_names(self.model))
            # Policies of others need not have a metric.
            metric = getattr(self.policy, "metric", "")
            bad = [k for k in logs if k.endswith(f"_{metric}") and math.isnan(logs[k])]
            if logs["val_score"] == -math.inf and bad:
                warnings.warn(
                    f"PolicyScore: {', '.join(bad)} is NaN, so `val_score` is -inf, and no such "
                    "validation is better than another. Its rows may hold labels of one class "
                    "alone: take more of them, or give the policy `weights` without the task.",
                    stacklevel=2,
                )


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def default_policy(schema: Any) -> TaskPolicy:
    """What is better where nobody says: the mean AUC of the tasks that have one.

    Without such a task it is what the first task is judged by, such as its mean squared error.

    Args:
        schema: The schema of the tasks, or `None` where there is none.

    Returns:
        The policy.
    """
    monitors = [task.monitor for task in getattr(schema, "tasks", ())]
    return TaskPolicy("auc" if not monitors or "auc" in monitors else monitors[0])


def task_names(model: keras.Model) -> tuple[str, ...] | None:
    """Names of the model's tasks; `None` where it has neither a schema nor a dict of outputs."""
    schema = getattr(model, "schema", None)
    if schema is not None:
        return tuple(schema.task_names)
    output = getattr(model, "output", None)
    return tuple(output) if isinstance(output, dict) else None
