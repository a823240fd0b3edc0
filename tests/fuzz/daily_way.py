"""A case as two days of a daily job: what the second day reads is what all rows at once give."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from keras_infnet.daily import DailyConfig, DailyError, DailyJob
from keras_infnet.daily.day_data import DayData, data_of
from keras_infnet.daily.day_log import table_of
from keras_infnet.data import Histories, Rates
from keras_infnet.data.histories import read_times
from keras_infnet.schema.frames import as_frame
from tests.fuzz.cases import Case
from tests.fuzz.ways import Different, _same

DAYS = ("2026-11-01", "2026-11-02")
_FIRST_DAY, _LEAST_ROWS = 0.6, 4
# What few rows of a day may rightly be refused for.
_RIGHT = re.compile(
    r"observed labels? (are|is)|no label is observed|nothing can be learned|held out|of one time|"
    r"null in all|is not defined on the held-out rows|before the last row that is trained on|"
    r"are later than|are older than"
)


def as_days(case: Case) -> bool:
    """Whether a case can be two days: times and values that are beyond doubt, and a task."""
    sides = [case.log, case.events or {}]
    clear = all(c.means is not None and not c.doubt for side in sides for c in side.values())
    return clear and case.schema.time_key is not None and bool(case.schema.tasks)


def run_days(case: Case) -> bool:
    """Runs a case as two days of a job that trains and exports nothing.

    Returns:
        Whether both days were done; too few rows, or a reason that lies in them, end it before.

    Raises:
        Different: Histories or features of the past differ.
        DailyError: A day was refused without reason.
    """
    log, later = _in_order(case, as_frame(case.frame("log"), "log"))
    if min((~later).sum(), later.sum()) < _LEAST_ROWS:
        return False
    start = read_times(case.schema, log[later], "log").min()
    with tempfile.TemporaryDirectory() as text:
        folder, own, whole = Path(text), dict[str, str](), dict[str, pd.DataFrame]()
        _write(folder / "log", log, later)
        if case.events_of is not None:
            events, _ = _in_order(case, as_frame(case.frame("events"), "events"))
            of_second = read_times(case.schema, events, "events") >= start
            if of_second.all() or not of_second.any():
                return False
            _write(folder / "events", events, of_second)
            own[case.events_of] = f"{folder}/events/{{day}}.parquet"
            whole[case.events_of] = events
        seen: list[DayData] = []
        job = DailyJob(_config(case, folder, own))
        with _nothing_trained(seen):
            try:
                for day in DAYS:
                    job.run(day)
            except DailyError as error:
                if _RIGHT.search(str(error)):
                    return False
                raise
    _compare(seen[-1], log, whole)
    return True


def _in_order(case: Case, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows in the order of time, and which are of the second day."""
    times = read_times(case.schema, frame, "fuzz")
    order = np.argsort(times, kind="stable")
    times = times[order]
    later = times >= times[int(_FIRST_DAY * len(times))] if len(times) else times > 0
    return frame.iloc[order].reset_index(drop=True), later


def _write(folder: Path, rows: pd.DataFrame, later: np.ndarray) -> None:
    folder.mkdir()
    for day, there in zip(DAYS, (~later, later), strict=True):
        pq.write_table(table_of(rows[there]), folder / f"{day}.parquet")


def _config(case: Case, folder: Path, own: dict[str, str]) -> DailyConfig:
    limits = {"duplicates": None}
    return DailyConfig(
        folder=folder / "ranker",
        schema=case.schema,
        log=f"{folder}/log/{{day}}.parquet",
        events=own,
        model={"name": "FM", "arguments": {"dim": 4}},
        training={"holdout": 0.3, "batch_size": 8},
        gate={"least": -1e9},
        calibration={"method": "none"},
        checks={"warn": limits, "refuse": limits},
    )


class _Drawn(DayData):
    """Predictions of nobody."""

    def predict(self, model: Any, rows: pd.DataFrame) -> pd.DataFrame:
        columns = [name for task in self.encoder.schema.tasks for name in task.columns]
        drawn = np.random.default_rng(len(rows)).random((len(rows), len(columns)))
        return pd.DataFrame(drawn, rows.index, columns)


@contextmanager
def _nothing_trained(seen: list[DayData]) -> Iterator[None]:
    """Versions are neither trained nor exported; what is read of a run goes into `seen`."""

    def read(*given: Any) -> DayData:
        found = data_of(*given)
        seen.append(_Drawn(found.encoder, found.rows, found.histories))
        return seen[-1]

    def export(model: Any, encoder: Any, path: Path, rows: Any, version: int, **_: Any) -> Path:
        (path / str(version)).mkdir(parents=True)
        return path / str(version)

    with ExitStack() as stack:
        for name, instead in (
            ("train.fit_ranker", lambda *_, **__: None),
            ("run.export", export),
            ("run.data_of", read),
        ):
            stack.enter_context(patch(f"keras_infnet.daily.{name}", instead))
        yield


def _compare(found: DayData, log: pd.DataFrame, events: dict[str, pd.DataFrame]) -> None:
    """Histories and features of the past of the last run, beside those of all rows at once."""
    schema, asked = found.encoder.schema, log.tail(len(found.rows))
    if schema.past:
        right = Rates(schema, log).attach(asked)
        for name in (feature.name for feature in schema.past):
            _same(f"days: `{name}`", found.rows[name], right[name])
    if found.histories is None:
        return
    attached = found.histories.attach(found.rows)
    whole = Histories(found.encoder, log, events=events).attach(asked)
    for column in (c for history in schema.histories for c in history.list_columns):
        pairs = zip(attached[column], whole[column], strict=True)
        for row, (one, other) in enumerate(pairs):
            if str(list(one)) != str(list(other)):
                raise Different(f"days: `{column}`, row {row}: {list(one)} for {list(other)}")
