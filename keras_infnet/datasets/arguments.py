"""Checks of the arguments that all data sets share."""

from collections.abc import Collection, Iterable

from keras_infnet._base.did_you_mean import did_you_mean


def check_tasks(dataset: str, tasks: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Task names as a tuple; an unknown name, or one given twice, is a ValueError."""
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if not tasks:
        raise ValueError(f"{dataset}: no task; expected at least one of {', '.join(known)}.")
    for task in tasks:
        if task not in known:
            raise ValueError(f"{dataset}: unknown task `{task}`.{did_you_mean(task, known)}")
        if tasks.count(task) > 1:
            raise ValueError(f"{dataset}: task `{task}` is given {tasks.count(task)} times.")
    return tasks


def check_choice(dataset: str, argument: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{dataset}: {argument} is {value!r}; expected one of {choices}.")
    return value
