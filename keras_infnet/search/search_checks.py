"""What a search needs, checked before its first trial."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from keras_infnet.search.search_oracles import ORACLES
from keras_infnet.training.policy import TaskPolicy


def require_keras_tuner() -> None:
    """Raises an ImportError that names the extra."""
    if importlib.util.find_spec("keras_tuner") is None:
        raise ImportError(
            "ProxySearch: keras-tuner is not installed. Install it with "
            '`pip install "keras-infnet[tuning]"`.'
        )


def check_data(train: Any, validation: Any) -> None:
    """Raises a ValueError for data that a trial could not be trained or compared on."""
    if validation is None:
        raise ValueError(
            "ProxySearch: no validation data, by which trials are compared. Pass "
            "`Batches.from_rows(encoder, split.validation, histories)`."
        )
    for name, data in (("train", train), ("validation", validation)):
        batches = int(data.cardinality())
        if batches == 0:
            raise ValueError(f"ProxySearch: `{name}` has no batch. Check the split's dates.")
        if batches == -1 or (batches < 0 and name == "train"):
            raise ValueError(
                f"ProxySearch: `{name}` has no known number of batches. Leave `repeat` out, or "
                "give it with `tf.data.experimental.assert_cardinality`."
            )


def check_choices(oracle: str, seeds: Sequence[int], latency_batch: int) -> None:
    """Raises a ValueError for an unknown oracle, no seed, or an empty batch."""
    if oracle not in ORACLES:
        raise ValueError(f"ProxySearch: oracle is {oracle!r}; expected any of {ORACLES}.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"ProxySearch: seeds are {list(seeds)}; expected one or more, all different."
        )
    if latency_batch < 1:
        raise ValueError(f"ProxySearch: latency_batch is {latency_batch}; expected 1 or more rows.")


def check_objective(policy: TaskPolicy, schema: Any, groups: Any) -> None:
    """Raises a ValueError for a task that the schema lacks, or gAUC without groups."""
    policy.check_tasks(schema.task_names)
    if policy.metric == "gauc" and groups is None:
        raise ValueError(
            "ProxySearch: the objective is gAUC, and `groups` is None. Pass one key a row of the "
            'validation data, such as `groups=split.validation["user_id"]`.'
        )


def default_objective(schema: Any) -> TaskPolicy:
    """Mean AUC, or mean squared error where all tasks are regressions."""
    only_regressions = all(task.kind == "regression" for task in schema.tasks)
    return TaskPolicy("mse" if only_regressions else "auc")
