"""Command `python -m keras_infnet.daily`: run, backfill, rollback and status, for a scheduler."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from keras_infnet.daily.errors import DailyError, ExitCode
from keras_infnet.daily.job import DailyJob

_CODES = """exit codes: 0 published, or nothing to do; 1 a stage failed; 2 the configuration or the
command line is wrong; 3 the log of the day is refused; 4 the gate kept the version before; 5
another job holds the folder. Events are JSON lines on standard output; progress bars are on
standard error, if it is a terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the number is an `ExitCode`."""
    parsed = _parser().parse_args(arguments)
    lines = sys.stdout

    def log(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=lines, flush=True)

    # Keras writes its progress bars where results are expected.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            job = DailyJob(parsed.config, log, "auto" if sys.stderr.isatty() else 0)
        except (OSError, ValueError) as error:
            log({"event": "failed", "stage": "config", "error": str(error)})
            return ExitCode.CONFIG
        try:
            return _done(job, parsed, log)
        except (OSError, ValueError) as found:
            is_daily = isinstance(found, DailyError)
            error = found if is_daily else DailyError(str(found), parsed.command)
            known = {"stage": error.stage, "day": error.day, "code": error.code}
            log({"event": "error", **known, "error": str(error)})
            return error.code


def _done(job: DailyJob, parsed: argparse.Namespace, log: Callable[[dict[str, Any]], None]) -> int:
    if parsed.command == "status":
        log({"event": "status", **job.status()})
        return ExitCode.DONE
    if parsed.command == "rollback":
        job.rollback(parsed.to)
        return ExitCode.DONE
    if parsed.command == "run":
        return job.run(parsed.day).code
    # A day that the gate kept back does not end a backfill.
    return job.backfill(parsed.first, parsed.last)[-1].code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m keras_infnet.daily", description=__doc__, epilog=_CODES
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do a day")
    run.add_argument("--day", required=True, help="such as 2026-11-29")
    backfill = commands.add_parser("backfill", help="do many days, in order")
    backfill.add_argument("--from", dest="first", required=True, metavar="DAY")
    backfill.add_argument("--to", dest="last", required=True, metavar="DAY")
    rollback = commands.add_parser("rollback", help="publish an older version again")
    rollback.add_argument("--to", type=int, required=True, metavar="VERSION")
    commands.add_parser("status", help="say what serves, and all versions")
    for command in commands.choices.values():
        command.add_argument("--config", required=True, metavar="FILE", help="JSON file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
