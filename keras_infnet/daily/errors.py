"""Errors of the daily job: at which stage of which day, and with which exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command ends with.

    `DONE`: a version was published, or there was nothing to do. `FAILED`: a stage failed. `CONFIG`:
    the configuration, or the command line, is wrong. `LOG`: the log of the day is refused. `KEPT`:
    the gate kept the version that serves. `BUSY`: another job holds the folder.
    """

    DONE = 0
    FAILED = 1
    CONFIG = 2
    LOG = 3
    KEPT = 4
    BUSY = 5


class DailyError(ValueError):
    """A day that was not done; the version that serves is as it was.

    Args:
        message: What was found, what was expected, and what to do.
        stage: The stage that failed.
        day: The day; `""` where it is of none.
        code: The exit code of the command: 1, or 2 for the configuration, 3 for a log that is
            refused, 5 where another job holds the folder.

    Attributes:
        message: As given.
        stage: As given.
        day: As given.
        code: As given.
    """

    def __init__(self, message: str, stage: str, day: str = "", code: int = 1) -> None:
        of_day = f" of {day}" if day else ""
        super().__init__(f"daily, stage `{stage}`{of_day}: {message}")
        self.message, self.stage, self.day, self.code = message, stage, day, code
