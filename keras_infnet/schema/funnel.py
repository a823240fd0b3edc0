"""Funnel: which task comes before which, as `observed_when` says."""

from collections.abc import Sequence

from keras_infnet.schema.task import Task


def tasks_before(task: Task, tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose label must be 1 for that of `task` to be observed."""
    return [other for other in tasks if other.label in task.conditions]


def check_no_circle(tasks: Sequence[Task]) -> None:
    """Raises a ValueError for a task of the entire space that would come before itself."""
    for task in tasks:
        if task.counts_unobserved and task.label in _path(task, tasks):
            raise ValueError(
                f"Task `{task.name}`: its label `{task.label}` is among the columns that must be 1 "
                f"for it to be observed, {_named(_path(task, tasks))}; expected a path with a "
                "beginning. Correct `observed_when` of one of these tasks."
            )


def parents_of(tasks: Sequence[Task], model: str) -> dict[str, str | None]:
    """The task that comes just before each, for a model of the entire space.

    A task that is observed in all rows, or where columns say so that no task predicts, is the first
    of its path. A path may branch: several tasks may come after one. Tasks that are not binary are
    in no path.

    Args:
        tasks: The tasks of a schema.
        model: Name of the model, for messages.

    Returns:
        Name of the parent by name of the task, `None` for the first of a path; parents come first.

    Raises:
        ValueError: A binary task is observed where another task's label is 1, and counts in these
            rows alone; or of what comes before a task, a column is no binary task's label, two
            tasks have it, or they stand side by side.
    """
    found = {task.name: _parent(task, tasks, model) for task in tasks}

    def depth(name: str) -> int:
        parent = found[name]
        return 0 if parent is None else 1 + depth(parent)

    return {name: found[name] for name in sorted(found, key=depth)}


def _parent(task: Task, tasks: Sequence[Task], model: str) -> str | None:
    before, who = tasks_before(task, tasks), f"{model}: task `{task.name}`"
    if not task.counts_unobserved:
        if before and task.calibrates:
            raise ValueError(
                f"{who} is observed where `{before[0].label}` is 1, and counts in these rows "
                "alone; the model says the probability of the whole path in all rows. Declare "
                f"`BinaryTask({task.name!r}, observed_when={task.observed_when!r}, "
                "entire_space=True)` and make the data anew, for all models that are compared."
            )
        return None
    labels = [other.label for other in before]
    for column in task.conditions:
        if labels.count(column) != 1:
            having = [f"`{other.name}`" for other in before if other.label == column]
            raise ValueError(
                f"{who} is observed where `{column}` is 1, which is the label of "
                f"{' and '.join(having) or 'no task'}; expected one BinaryTask, whose probability "
                "the path goes through. Declare it, or leave the column out of `observed_when`."
            )
    other = next((other for other in before if not other.calibrates), None)
    if other is not None:
        raise ValueError(
            f"{who} comes after `{other.name}`, a {type(other).__name__}; expected a BinaryTask, "
            "whose probability the path goes through."
        )
    path = _path(task, tasks)
    nearest = [other for other in before if _path(other, tasks) | {other.label} == path]
    if not nearest:
        raise ValueError(
            f"{who} comes after {_named(path)}, of which none comes after all others; expected a "
            "path. Say with `observed_when` and `entire_space=True` of one of them that it comes "
            "after the other."
        )
    return nearest[0].name


def _path(task: Task, tasks: Sequence[Task]) -> set[str | None]:
    """All columns that must be 1 for the task to be observed; of a first task none."""
    found: set[str | None] = set()
    left = [task]
    while left:
        last = left.pop()
        if last.counts_unobserved and not set(last.conditions) <= found:
            found |= set(last.conditions)
            left += tasks_before(last, tasks)
    return found


def _named(columns: set[str | None]) -> str:
    return ", ".join(f"`{column}`" for column in sorted(map(str, columns)))
