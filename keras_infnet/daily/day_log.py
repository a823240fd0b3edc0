"""DayLog: the rows of one day, read from Parquet or CSV, and what tells them from others."""

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.digest import digest
from keras_infnet.daily.config import DAY
from keras_infnet.daily.errors import DailyError, ExitCode
from keras_infnet.data.row_source import WantedColumns, read_chunks
from keras_infnet.schema.frames import below_another, decoded, is_list, to_frame
from keras_infnet.schema.schema import FeatureSchema

READ = "read"
_CHUNK_ROWS = 1 << 20


@dataclass(frozen=True)
class DayLog:
    """The rows of a day.

    Args:
        day: The day.
        table: Its rows, of the columns that the schema needs.
        fingerprint: What rows of the same values in the same order share, whatever their files.
        events: Events of logs of their own by history.
    """

    day: str
    table: pa.Table
    fingerprint: str
    events: Mapping[str, pa.Table] = field(default_factory=dict[str, pa.Table])

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each column: `"number"`, `"text"`, `"time"`, `"list"`, or `"none"`."""
        return {column.name: _kind(column.type) for column in self.table.schema}


def read_day(
    schema: FeatureSchema, pattern: str, day: str, events: Mapping[str, str] | None = None
) -> DayLog:
    """Reads the log of a day, and those of its events.

    Args:
        schema: The schema.
        pattern: Path with `{day}`.
        day: The day.
        events: Paths with `{day}` by history, of events that come from logs of their own.

    Raises:
        DailyError: There is no file, it can't be read, or it has no row.
    """
    table = _read(pattern, WantedColumns.of(schema), day)
    own = {
        name: _read(path, WantedColumns.of_events(schema, schema.history(name)), day)
        for name, path in (events or {}).items()
    }
    of_rows = fingerprint(table)
    of_events = [f"{name} {fingerprint(own[name])}" for name in sorted(own)]
    return DayLog(day, table, digest(of_rows, *of_events) if own else of_rows, own)


def check_day(day: Any) -> str:
    """The day, if it is one such as `2026-11-29`; else a ValueError."""
    try:
        found = datetime.date.fromisoformat(day) if isinstance(day, str) else None
    except ValueError:
        found = None
    if found is None or found.isoformat() != day:
        raise DailyError(
            f"the day is {day!r}; expected one such as '2026-11-29'.", READ, "", ExitCode.CONFIG
        )
    return day


def days_between(first: str, last: str) -> list[str]:
    """All days from one to another."""
    begin, end = (datetime.date.fromisoformat(check_day(day)) for day in (first, last))
    if end < begin:
        raise DailyError(
            f"the days go from {first} to {last}; expected the earlier first.",
            READ,
            "",
            ExitCode.CONFIG,
        )
    days = (begin + datetime.timedelta(n) for n in range((end - begin).days + 1))
    return [day.isoformat() for day in days]


def fingerprint(table: pa.Table) -> str:
    """Sixteen hexadecimal digits of a table's values, by column, in their order."""
    state = hashlib.sha256(str(len(table)).encode())
    for name in sorted(table.column_names):
        values = table[name].combine_chunks()
        state.update(f"{name} {values.type}".encode())
        # As a stream: slices and buffers that are not used do not tell.
        sink = pa.BufferOutputStream()
        batch = pa.record_batch([pa.concat_arrays([values])], [name])
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        state.update(memoryview(sink.getvalue()))
    return state.hexdigest()[:16]


def frame_of(tables: list[pa.Table]) -> pd.DataFrame:
    """The rows of tables, one after the other, numbered from 0."""
    table = below_another(tables)
    return to_frame(table, np.arange(len(table)))


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Rows as they are written to Parquet."""
    return decoded(pa.Table.from_pandas(frame, preserve_index=False))


def _read(pattern: str, columns: WantedColumns, day: str) -> pa.Table:
    """The rows of the files of a day."""
    path = pattern.replace(DAY, check_day(day))
    try:
        return below_another([table for _, table in read_chunks(path, columns, _CHUNK_ROWS)])
    except (ImportError, OSError, ValueError) as error:
        message = str(error).removeprefix("prepare: ")
        raise DailyError(
            f"{message} Log: {path}. Write it, and run the day again.", READ, day, ExitCode.LOG
        ) from error


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_null(kind):
        return "none"
    if is_list(kind):
        return "list"
    if pa.types.is_temporal(kind):
        return "time"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "number"
