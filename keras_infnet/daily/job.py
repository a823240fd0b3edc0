"""DailyJob: each day's log becomes a version, which is published if it is better."""

import contextlib
import datetime
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_infnet._base.locks import locked
from keras_infnet._base.whole_files import read_json, write_json
from keras_infnet.daily.config import DailyConfig
from keras_infnet.daily.day_log import READ, check_day, days_between
from keras_infnet.daily.errors import DailyError, ExitCode
from keras_infnet.daily.report import report_of, write_failure, write_index
from keras_infnet.daily.run import CHECK, DayRun
from keras_infnet.daily.versions import REPORT, Version, Versions

_LOCK, _WORK, _RUN = "daily.lock", "work", "run.json"


@dataclass(frozen=True)
class Outcome:
    """What became of a day.

    Args:
        day: The day.
        status: `"published"`, `"kept"`: the gate kept the version before, or `"unchanged"`: the day
            had been done with the same rows.
        number: Number of its version.
        reason: Why.
        code: Exit code of the command: 0, or 4 where the gate kept the version before.
    """

    day: str
    status: str
    number: int
    reason: str
    code: int


class DailyJob:
    """Trains a ranker again every day, and publishes it where it is better.

    For each day: read and check its log; score it with the version that serves, before training;
    grow encoder and model; train on what no version has seen; calibrate on the newest rows, which
    are held out; gate against the version before on the same rows; export, verify and publish, or
    keep the version before and say why. Rows that were held out, and days whose version was kept
    back, are trained on by the next version.

    Killed at any moment and run again, a job ends with the version that it would have ended with.
    What serves stays whole, whatever fails.

    Args:
        config: A `DailyConfig`, or the path of its JSON file.
        log: Takes a dict for each event, such as `{"event": "stage", "stage": "train"}`. Defaults
            to nothing.
        verbose: Progress bars of training, as in `keras.Model.fit`. Defaults to `0`.

    Attributes:
        versions: The `Versions`.

    Raises:
        ValueError: The configuration is wrong.

    Example:
        ```python
        job = keras_infnet.daily.DailyJob("daily.json")
        print(job.run("2026-11-29").status)  # published
        ```
    """

    def __init__(
        self,
        config: DailyConfig | str | Path,
        log: Callable[[dict[str, Any]], None] | None = None,
        verbose: Any = 0,
    ) -> None:
        self.config = config if isinstance(config, DailyConfig) else DailyConfig.load(config)
        self.versions = Versions(self.config.folder, self.config.name)
        self._log, self._verbose = log, verbose

    def run(self, day: str) -> Outcome:
        """Does a day.

        Args:
            day: The day, such as `"2026-11-29"`.

        Returns:
            What became of it. A day that was done with the same rows is not done again; with other
            rows, such as late files, the last day becomes a new version.

        Raises:
            DailyError: A stage failed, or the log is refused; what serves goes on.
        """
        check_day(day)
        with self._held(day):
            return self._run(day)

    def backfill(self, first: str, last: str) -> list[Outcome]:
        """Does all days from one to another, in order; the first that fails ends it."""
        return [self.run(day) for day in days_between(first, last)]

    def rollback(self, to: int) -> Version:
        """Publishes an older version again, under a new number.

        The days after it are not trained on any more; `backfill` does them again.

        Args:
            to: Number of a version that was published.

        Returns:
            The new version.

        Raises:
            DailyError: There is no such version, it was never published, or it is damaged.
        """
        with self._held("", "rollback"):
            with self._stage("rollback", ""):
                version = self._restored(to)
            self._event("published", day=version.day, version=version.number, restores=to)
            return version

    def status(self) -> dict[str, Any]:
        """What serves, and all versions that ever were, as JSON values."""
        serving = self.versions.serving
        return {
            "folder": str(self.versions.folder),
            "serving": None if serving is None else serving.number,
            "day": None if serving is None else serving.day,
            "versions": [
                {
                    "version": v.number,
                    "day": v.day,
                    "decision": v.decision,
                    "reason": v.reason,
                    "base": v.base,
                    "restores": v.restores,
                    "on_disk": v.number in self.versions.numbers(),
                }
                for v in self.versions.records()
            ],
        }

    def _run(self, day: str) -> Outcome:
        run = DayRun(self.config, self.versions, day, self._stage, self._event, self._verbose)
        with self._stage("recover", day):
            if self.versions.recover():
                write_index(self.versions)
            run.find_base()
        run.read()
        done = run.done_before()
        if done is not None:
            write_index(self.versions, done.data)
            return self._ended(day, done, "unchanged")
        number, work = self._begun(run)
        version = run.make(number, work)
        with self._stage("publish", day):
            if version.published:
                self.versions.publish(version)
            self.versions.enter(version)
            shutil.rmtree(work.parent, ignore_errors=True)
            self.versions.clean(self.config.keep_versions)
            write_index(self.versions, version.data)
        return self._ended(day, version, version.decision)

    def _begun(self, run: DayRun) -> tuple[int, Path]:
        """Number and folder of a run: those that it had, if it was killed before."""
        work, key = self.versions.folder / _WORK / "run", run.key
        if (work / _RUN).is_file():
            known = read_json(work / _RUN)
            if known["key"] == key and known["number"] not in self.versions.numbers():
                self._event("resumed", day=run.day, version=known["number"])
                return known["number"], work
        if work.parent.exists():
            shutil.rmtree(work.parent)
        number = self.versions.reserve()
        write_json(work / _RUN, {"key": key, "number": number})
        return number, work

    def _restored(self, to: int) -> Version:
        """The version that a rollback makes."""
        self.versions.recover(publish=False)
        source, serving = self.versions.check(to), self.versions.serving
        if not source.published:
            published = [v.number for v in self.versions.records() if v.published]
            raise ValueError(
                f"version {to} was never published ({source.reason}); published were "
                f"{', '.join(map(str, published))}."
            )
        version = Version(
            number=self.versions.reserve(),
            day=source.day,
            decision="published",
            reason=f"version {to} again, by a rollback",
            base=source.base,
            parent=None if serving is None else serving.number,
            restores=to,
            data=source.data,
            config=source.config,
            until=source.until,
            rows=source.rows,
        )

        def write(folder: Path) -> None:
            shutil.copytree(self.versions.path(to), folder, dirs_exist_ok=True)
            (folder / "version.json").unlink()
            text = report_of(version, self.versions.metrics(to), self.versions.records())
            (folder / REPORT).write_text(text, encoding="utf-8")

        version = self.versions.add(version, write)
        self.versions.publish(version)
        self.versions.enter(version)
        write_index(self.versions, ["rollback"])
        return version

    def _ended(self, day: str, version: Version, status: str) -> Outcome:
        code = ExitCode.DONE if version.published else ExitCode.KEPT
        self._event(status, day=day, version=version.number, reason=version.reason)
        return Outcome(day, status, version.number, version.reason, code)

    @contextlib.contextmanager
    def _held(self, day: str, stage: str = "lock") -> Iterator[None]:
        """Holds the folder; an error of a day becomes a page."""
        folder = self.versions.folder
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(folder / _LOCK, "taken"))
            except ValueError as error:
                raise DailyError(
                    f"another job holds {folder}. Wait for its end, or give this one a folder of "
                    "its own.",
                    stage,
                    day,
                    ExitCode.BUSY,
                ) from error
            try:
                yield
            except DailyError as error:
                # A page must not hide the error that it is about.
                with contextlib.suppress(OSError, ValueError):
                    write_failure(self.versions, error)
                    write_index(self.versions)
                raise

    @contextlib.contextmanager
    def _stage(self, stage: str, day: str) -> Iterator[None]:
        """A stage of a day: its time is logged, and its errors name it."""
        begin = time.monotonic()
        self._event("stage", stage=stage, day=day)
        try:
            yield
        except DailyError as error:
            self._event("failed", stage=error.stage, day=day, error=error.message)
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}" if not str(error) else str(error)
            self._event("failed", stage=stage, day=day, error=said)
            of_log = isinstance(error, ValueError) and stage in (READ, CHECK)
            code = ExitCode.LOG if of_log else ExitCode.FAILED
            raise DailyError(said, stage, day, code) from error
        seconds = round(time.monotonic() - begin, 3)
        self._event("stage done", stage=stage, day=day, seconds=seconds)

    def _event(self, event: str, **known: Any) -> None:
        if self._log is not None:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            self._log(json.loads(json.dumps({"time": now, "event": event, **known})))
