"""Columns of several tasks, as dicts or data frames."""

from collections.abc import Collection, Mapping
from typing import Any

from keras_infnet._base.did_you_mean import check_known


def check_task(task: str, known: Collection[str], where: str) -> None:
    """A ValueError for a task that has no column."""
    check_known(task, known, f"Task `{task}` is not in the {where}.")


def has_names(columns: Any) -> bool:
    """Whether it is a dict or a data frame, not one column."""
    return isinstance(columns, Mapping) or hasattr(columns, "columns")


def of_task(task: str, given: Any) -> Any:
    """What is given for a task, by its name or once for all; `None` where a name lacks."""
    return given.get(task) if has_names(given) else given
