"""Histories as pointers: events lie once, by user and time; a row knows where its window ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.paths import local_path
from keras_infnet.data.event_arrays import NO_TIME, EventArrays
from keras_infnet.data.histories_file import SavedHistories
from keras_infnet.data.narrow_columns import take_rows
from keras_infnet.data.notices import (
    repeated_rows,
    warn_of_repeated_rows,
    warn_of_shuffled_rows,
)
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import has_list_columns, log_events, window_index
from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING, column, feedbacks, user_ids
from keras_infnet.schema.frames import Frame, as_frame, as_rows, list_series
from keras_infnet.schema.history import History
from keras_infnet.schema.instants import MISSING_TIME, Time, shown
from keras_infnet.schema.schema import FeatureSchema

Freeze = Time | pd.Series | np.ndarray
FreezeAt = Freeze | Mapping[str, Freeze | None]


class Histories:
    """The past events of every user, for each history of a schema.

    Only events strictly earlier than a row enter its history: a row never sees itself, nor a
    repetition at the same millisecond. A row without a user (`None`, NaN, `-1` or `""`) is
    nobody's: it has no history, and enters none. Memory is that of the events, whatever the number
    of rows and the history's length.

    Args:
        encoder: A fitted encoder.
        log: Events, one a row, in any order: user, time, fields, actions and ratio columns, as a
            pandas, Polars or Arrow frame. With `time_key=None` in the schema the order of a user's
            rows is the order of time, and rows are found by the frame's index, which must be
            unique.
        earlier: Events from before the log by history name, in the order of time within a user; a
            time column is optional, and actions or ratio that are absent are unknown.
        events: Logs of their own by history name, with users, times and the history's columns: no
            row of `log` is an event of these histories.

    Attributes:
        time_unit: Unit of the log's times, `"s"`, `"ms"`, `"us"` or `"ns"`: that of its datetimes,
            the declared one, or the one that was recognised. `None` with `time_key=None`.
        until: Milliseconds of the newest row. `None` with `time_key=None`.
        since: Milliseconds before which no row can be asked for, since older events are gone after
            `append` and `load`. `None`: all can.

    Raises:
        ValueError: A column is missing or holds what it must not, times are implausible, the log is
            empty, `earlier` or `events` name an unknown history, or all of a log's events are later
            than every row.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("video_id", "item", dtype="int")],
        ...     histories=[keras_infnet.History("seen", ("video_id",), max_length=3)],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame(
        ...     {"user_id": 1, "time_ms": [10, 20, 20], "video_id": [7, 8, 9], "click": [0, 1, 1]}
        ... )
        >>> log["time_ms"] += 1_790_000_000_000
        >>> encoder = keras_infnet.data.FeatureEncoder(schema).fit(log)
        >>> histories = keras_infnet.data.Histories(encoder, log)
        >>> histories.attach(log)["seen_video_id"].tolist()
        [[], [7], [7]]
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        log: Frame,
        earlier: Any = None,
        events: Mapping[str, Frame] | None = None,
    ) -> None:
        log = as_rows(log, "Histories")
        self.encoder, self.schema = encoder, encoder.schema
        self.schema.require_fitted()
        if earlier is not None and not issubclass(type(earlier), Mapping):
            raise ValueError(
                f"Histories: `earlier` is a {type(earlier).__name__}; expected frames by history "
                "name, such as `{'seen': frame}`."
            )
        before: dict[str, Any] = dict(earlier or {})
        before = {n: as_frame(e, f"Histories, earlier `{n}`") for n, e in before.items()}
        for name in before:
            self.schema.history(name)
        logs = event_logs(self.schema, events, "Histories")
        self._own = frozenset(logs)
        if self.schema.time_key is None and not log.index.is_unique:
            raise ValueError(
                "Histories: with `time_key=None` rows are found by the log's index, and it has "
                "repeated labels. Use `log.reset_index(drop=True)` before you split."
            )
        self._log_index = log.index
        self._user_dtype: str | None = None
        users = pd.concat([self._users(frame) for frame in (log, *before.values(), *logs.values())])
        is_known = (users != MISSING_INT) & (users != MISSING_STRING)
        self._user_codes = pd.Index(users[is_known].unique())
        self._log_users = self.user_codes(log)
        times = self._times(log)
        self.time_unit, self.until, self.since = None, None, None
        if (key := self.schema.time_key) is not None:
            self.time_unit = self.schema.instants.unit_of(log[key], f"column `{key}`")
            self.until = int(times.max())
        self.events = {
            s.name: self._build(s, log, times, before.get(s.name), logs.get(s.name))
            for s in self.schema.histories
        }
        if self.schema.time_key is None:
            warn_of_shuffled_rows(log.index, self._log_users, "Histories")
        else:
            self._repeated(repeated_rows(self.schema, log, self._log_users, times), len(log))

    def windows(
        self, name: str, frame: Frame, freeze_at: FreezeAt | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the history of each row lies.

        Args:
            name: Name of the history.
            frame: Rows with user and time columns.
            freeze_at: A time: no event at or after it enters, so that histories do not roll on
                inside an evaluated period. `"first_row"`: each user's first row in `frame`. One
                time a row: an array, or a series with the index of `frame`. Or any of these by
                history name; those that the dict lacks roll on. Ages still count from the row's own
                time.

        Returns:
            `(starts, ends, times)`, int64 `(rows,)`: events `start .. end - 1` are the newest
            `max_length` before the row, whose own time in milliseconds is the third.

        Raises:
            ValueError: A column is missing, users are of another kind (strings, numbers) than in
                the log, `freeze_at` or a value of the time column is no time, a time is before
                `since`, or, with `time_key=None`, the frame's index is not the log's.
        """
        frame = as_frame(frame, "Histories.windows")
        events = self.events[self.schema.history(name).name]
        users, times = self.user_codes(frame), self._times(frame)
        freeze = freeze_of(self.schema, name, freeze_at)
        cut = frozen_times(times, users, freeze, self.schema, frame.index)
        if self.since is not None and (older := cut < self.since).any():
            raise ValueError(
                f"Histories: {int(older.sum())} of {len(cut)} rows are asked for at a time before "
                f"{shown(self.since)} (such as row {frame.index[older][0]}, at "
                f"{shown(cut[older][0])}). Of earlier events only each user's newest are kept: ask "
                "for later rows, or make Histories of the whole log."
            )
        length = self.schema.history(name).max_length
        return *newest_before(events.users, events.times, users, cut, length), times

    def attach(self, frame: Frame, freeze_at: FreezeAt | None = None) -> pd.DataFrame:
        """The frame with each row's raw histories as list columns.

        Args:
            frame: Rows with user and time columns.
            freeze_at: As in `windows`.

        Returns:
            A copy with columns `{history}_{field}`, `{history}_{action}`, `{history}_ratio` and
            `{history}_age_seconds`, oldest event first.
        """
        frame = as_frame(frame, "Histories.attach")
        added: dict[str, pd.Series] = {}
        for history in self.schema.histories:
            events = self.events[history.name]
            starts, ends, times = self.windows(history.name, frame, freeze_at)
            index, inside = window_index(starts, ends, history.max_length)
            bounds = pa.array(np.concatenate([[0], np.cumsum(inside.sum(1))]), pa.int32())
            chosen = index[inside]
            for suffix, values in events.raw.items():
                taken = values.take(pa.array(chosen))
                if suffix in history.fields:
                    taken = self.schema.feature(suffix).listed(taken)
                lists = pa.ListArray.from_arrays(bounds, taken)
                added[f"{history.name}_{suffix}"] = list_series(lists, frame.index)
            row_times = np.broadcast_to(times[:, None], inside.shape)[inside]
            for suffix, quantity in history.read_by.items():
                if not quantity.of_row:
                    continue
                known = (events.times[chosen] != NO_TIME) & (self.schema.time_key is not None)
                since = np.where(known, events.times[chosen], 0)
                of_time = np.asarray(quantity.of_time(row_times, since))
                values = np.where(known, of_time, np.asarray(quantity.missing()))
                lists = pa.ListArray.from_arrays(bounds, pa.array(values))
                added[f"{history.name}_{suffix}"] = list_series(lists, frame.index)
        return frame.drop(columns=list(added), errors="ignore").assign(**added)

    def append(self, rows: Frame, events: Mapping[str, Frame] | None = None) -> "Histories":
        """These histories and a day that is over or is trained on now; `self` stays as it is.

        Of the past each user keeps the newest `max_length` events, which is all that rows of the
        day and later can reach. Windows of these are those of all days at once.

        Args:
            rows: Rows of the day, none older than `until`.
            events: Events of the day by history name, for the histories that come from logs of
                their own; a frame may be empty.

        Returns:
            Histories of which rows of the day and later can be asked for.

        Raises:
            ValueError: A row is older than `until`, as all are of a day that was given before; an
                event is older than `until` or the newest of its history; `events` are not those of
                the histories with logs of their own; the schema has no time key; or as the class.
        """
        who = "Histories.append"
        self._check_timed(who)
        rows = as_rows(rows, who)
        times = read_times(self.schema, rows, who)
        check_in_order(who, times, self.until, rows.index)
        logs = self._own_events(who, events)
        new = self.__class__.__new__(self.__class__)
        new.__dict__.update(self.__dict__)
        new.since, new.until = self.until, int(times.max())
        users = pd.concat([new._users(frame) for frame in (rows, *logs.values())])
        known = users[(users != MISSING_INT) & (users != MISSING_STRING)].unique()
        more = known[self._user_codes.get_indexer(pd.Index(known)) < 0]
        if len(more):
            new._user_codes = self._user_codes.append(pd.Index(more))
        new._log_index, new._log_users = rows.index, new.user_codes(rows)
        new.events = dict[str, EventArrays]()
        for history in self.schema.histories:
            past = self.events[history.name].newest(self.until, history.max_length)
            if (own := logs.get(history.name)) is None:
                part = new._read(history, rows, new._log_users, times)
            else:
                own_times = read_times(self.schema, own, f"{who}, events `{history.name}`")
                part = new._read(history, own, new.user_codes(own), own_times)
            new.events[history.name] = past.and_later(self.schema, self.encoder, history, part)
        new._repeated(repeated_rows(self.schema, rows, new._log_users, times), len(rows))
        return new

    def of_users(self, frame: pd.DataFrame) -> "Histories":
        """The histories of the users of some rows alone; codes of users stay."""
        codes, found = self.user_codes(frame), self.__class__.__new__(self.__class__)
        found.__dict__.update(self.__dict__)
        found.events = {n: e.take(np.isin(e.users, codes)) for n, e in self.events.items()}
        return found

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes a folder, whole or not at all, of what later rows need; `load` reads it.

        Each user's newest `max_length` events lie there, with the values of the log, so that
        another encoder can read them: JSON, and Parquet files with checksums.

        Args:
            folder: Folder to make.
            overwrite: Whether histories that were saved there are replaced.

        Raises:
            FileExistsError: `folder` exists, and `overwrite` is not set or it holds no histories.
            ValueError: The schema has no time key.
            OSError: The folder can't be written.
        """
        self._check_timed("Histories.save")
        path = local_path(folder, "Histories.save", "folder", written=True)
        kept = {
            s.name: self.events[s.name].newest(self.until, s.max_length)
            for s in self.schema.histories
        }
        saved = SavedHistories(
            int(self.until or 0),
            self.time_unit,
            self._user_dtype,
            tuple(sorted(self._own)),
            self._user_codes,
            kept,
        )
        saved.of_events_alone().write(path, self.schema, overwrite)

    @classmethod
    def load(cls, folder: str | Path, encoder: FeatureEncoder) -> "Histories":
        """Reads what `save` wrote, and encodes it: `append` goes on from there.

        Args:
            folder: The folder.
            encoder: A fitted encoder of the same histories; it may have learned more than the one
                of then, and knows values that were unknown then.

        Returns:
            Histories of which rows of the time of `until` and later can be asked for.

        Raises:
            ValueError: A file is missing or damaged, the folder is of another format, or the
                encoder's histories are not those that were saved.
        """
        schema = encoder.schema
        schema.require_fitted()
        saved = SavedHistories.read(local_path(folder, "Histories.load", "folder"), schema)
        found = cls.__new__(cls)
        found.encoder, found.schema = encoder, schema
        found._log_index, found._log_users = pd.RangeIndex(0), np.zeros(0, "int64")
        found._own, found._user_dtype = frozenset(saved.own), saved.user_dtype
        found._user_codes, found.time_unit = saved.users, saved.time_unit
        found.until = found.since = saved.until
        found.events = {
            s.name: saved.events[s.name].encoded(schema, encoder, s) for s in schema.histories
        }
        return found

    def _check_timed(self, who: str) -> None:
        if self.schema.time_key is None:
            raise ValueError(
                f"{who}: the schema has no time_key, so that nothing tells which rows come after "
                "others. Declare one, or make Histories of the whole log."
            )

    def _own_events(self, who: str, events: Any) -> dict[str, pd.DataFrame]:
        """The events of a day by history, in the order of time; an error unless all are there."""
        given: dict[str, Any] = dict(events or {})
        logs = {n: as_frame(e, f"{who}, events `{n}`") for n, e in given.items()}
        filled = event_logs(self.schema, {n: e for n, e in logs.items() if len(e)}, who)
        if {*logs} ^ self._own:
            raise ValueError(
                f"{who}: `events` holds {sorted(logs)}; expected {sorted(self._own)}, the "
                "histories that come from logs of their own. Give a frame without rows where "
                "nothing happened."
            )
        for name, frame in filled.items():
            label = f"{who}, events `{name}`"
            newest = max(int(self.events[name].times.max(initial=NO_TIME)), self.until or NO_TIME)
            check_in_order(label, read_times(self.schema, frame, label), newest, frame.index)
        return {name: filled.get(name, frame) for name, frame in logs.items()}

    def _repeated(self, repeated: int, rows: int) -> None:
        """What is done about rows of the log that are there twice."""
        warn_of_repeated_rows(repeated, rows, "Histories", 4)

    def _build(
        self,
        history: History,
        log: pd.DataFrame,
        log_times: np.ndarray,
        earlier: pd.DataFrame | None,
        own: pd.DataFrame | None,
    ) -> EventArrays:
        parts: list[EventArrays] = []
        events = log if own is None else own
        # Events from before the log may lack a time, and columns of quantities.
        frames = [events] if earlier is None else [earlier, events]
        for frame in (frame for frame in frames if len(frame)):
            may_lack = frame is not events
            if frame is log:
                users, times = self._log_users, log_times
            elif not may_lack:
                users, times = self.user_codes(frame), self._own_times(history, frame, log_times)
            elif self.schema.time_key in frame.columns:
                who = f"Histories, earlier `{history.name}`"
                users, times = self.user_codes(frame), read_times(self.schema, frame, who)
            else:
                users, times = self.user_codes(frame), np.full(len(frame), NO_TIME)
            parts.append(self._read(history, frame, users, times, may_lack))
        return EventArrays.of(parts).in_order(self.schema, self.encoder, history)

    def _read(
        self,
        history: History,
        frame: pd.DataFrame,
        users: np.ndarray,
        times: np.ndarray,
        may_lack: bool = False,
    ) -> EventArrays:
        """The events of a frame of a history, in its order, not encoded."""
        if history.where is not None:
            label = f"{history.label}, where `{history.where}`"
            took_place = feedbacks(column(frame, history.where, label), label) == 1
            there = np.flatnonzero(took_place)
            frame, users, times = frame.iloc[there], users[there], times[there]
        raw = log_events(history, frame, may_lack, self.schema)
        first = self.schema.feature(history.fields[0])
        program = self.encoder.programs[self.schema.table_of(first.name)]
        label = f"{history.label}, field `{first.name}`"
        there = (first.pack(raw[first.name], program, label)[:, 0] != 0) & (users >= 0)
        events = EventArrays(np.zeros((len(users), 0), "int32"), users, times, raw)
        return events if there.all() else events.take(there)

    def _own_times(self, history: History, events: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Times of a log of its own, of which some must be before a row."""
        who = f"Histories, events `{history.name}`"
        times = read_times(self.schema, events, who)
        if times.min() >= rows.max():
            first, last = (np.datetime64(int(t), "ms") for t in (times.min(), rows.max()))
            raise ValueError(
                f"{who}: the first event is at {first}, and the last row at {last}, so that none "
                "is in a row's past. Give events of earlier days, or check both time columns."
            )
        return times

    def _users(self, frame: pd.DataFrame) -> pd.Series:
        label = f"Histories, user key `{self.schema.user_key}`"
        users, dtype = user_ids(column(frame, self.schema.user_key, label), label)
        self._user_dtype = self._user_dtype or dtype
        if {dtype, self._user_dtype} == {"int", "string"}:
            here, there = ("numbers", "strings") if dtype == "int" else ("strings", "numbers")
            raise ValueError(
                f"Histories: column `{self.schema.user_key}` holds {here}, and the log's {there}, "
                "so that no user would be found. Convert one of them."
            )
        return users

    def user_codes(self, frame: pd.DataFrame) -> np.ndarray:
        """Codes of users, as in `EventArrays`; -1, which has no event, for unknown or nobody."""
        return self._user_codes.get_indexer(pd.Index(self._users(frame))).astype("int64")

    def _times(self, frame: pd.DataFrame) -> np.ndarray:
        key = self.schema.time_key
        if key is None:
            times = self._log_index.get_indexer(frame.index).astype("int64")
            if (times < 0).any():
                raise ValueError(
                    f"Histories: {int((times < 0).sum())} rows are not in the log by their index "
                    f"(such as {frame.index[times < 0][0]}); with `time_key=None` a row's time is "
                    "its place in the log."
                )
            self._check_users_of_rows(frame, times)
            return times
        return read_times(self.schema, frame, "Histories")

    def _check_users_of_rows(self, frame: pd.DataFrame, places: np.ndarray) -> None:
        """With `time_key=None`: another user at the same index is another row."""
        users = self.user_codes(frame)
        other = np.flatnonzero(users != self._log_users[places])
        if len(other):
            row, in_log = frame.index[other[0]], self._log_users[places[other[0]]]
            known = self._user_codes[in_log] if in_log >= 0 else None
            raise ValueError(
                f"Histories: {len(other)} rows have another user than the log's rows of the same "
                f"index (such as {row}: {frame[self.schema.user_key].iloc[other[0]]!r}, in the log "
                f"{known!r}). With `time_key=None` "
                "rows are found by the index: don't reset it after a split."
            )


def event_logs(schema: FeatureSchema, events: Any, who: str) -> dict[str, pd.DataFrame]:
    """Logs of their own, by history.

    Raises:
        ValueError: They are not frames by the names of histories, one is empty, or the schema has
            no times.
    """
    if events is not None and not issubclass(type(events), Mapping):
        raise ValueError(
            f"{who}: `events` is a {type(events).__name__}; expected frames by history name, such "
            "as `{'reads': frame}`."
        )
    logs: dict[str, Any] = dict(events or {})
    if logs and schema.time_key is None:
        raise ValueError(
            f"{who}: the events of {', '.join(logs)} need times, and the schema has no time_key."
        )
    named = {schema.history(name).name: rows for name, rows in logs.items()}
    return {name: as_rows(rows, f"{who}, events `{name}`") for name, rows in named.items()}


def read_times(schema: FeatureSchema, frame: pd.DataFrame, who: str) -> np.ndarray:
    """Milliseconds of the rows of a schema with a time key.

    Raises:
        ValueError: The column is missing, or a value is none or no time.
    """
    key = str(schema.time_key)
    label = f"{who}: column `{key}`"
    times = schema.instants.of_column(column(frame, key, f"{who}, time key"), label)
    missing = int((times == MISSING_TIME).sum())
    if missing:
        raise ValueError(f"{label} has {missing} missing values; expected a time in every row.")
    return times


def check_in_order(who: str, times: np.ndarray, until: int | None, index: pd.Index) -> None:
    """A ValueError if rows are older than the newest past row.

    Args:
        who: Who asks, for the error message.
        times: Milliseconds of the rows.
        until: Milliseconds of the newest past row; `None`: there is none.
        index: Index of the rows.
    """
    if until is not None and (older := times < until).any():
        raise ValueError(
            f"{who}: {int(older.sum())} of {len(times)} rows are older than the newest past row, "
            f"of {shown(until)} (such as row {index[older][0]}, of {shown(times[older][0])}). Give "
            "each day once, in the order of time."
        )


def lacking_histories(schema: FeatureSchema, frame: pd.DataFrame) -> list[str]:
    """Names of the histories that the rows lack as list columns."""
    return [s.name for s in schema.histories if not has_list_columns(s, frame)]


def check_histories(
    who: str,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    histories: Any,
    freeze_at: FreezeAt | None,
) -> list[str]:
    """Names of the histories that the rows lack as list columns; an error if nothing gives them."""
    encoder.schema.require_fitted()
    if not isinstance(histories, Histories | None):
        raise ValueError(
            f"{who}: `histories` is a {type(histories).__name__}; expected Histories(encoder, log)."
        )
    lacking = lacking_histories(encoder.schema, frame)
    listed = [s.name for s in encoder.schema.histories if s.name not in lacking]
    frozen = [s for s in listed if freeze_of(encoder.schema, s, freeze_at) is not None]
    if frozen:
        raise ValueError(
            f"{who}: `freeze_at` can't cut the histories {', '.join(frozen)}, which the "
            "rows hold as list columns. Use `Histories.attach(frame, freeze_at)`, or drop them."
        )
    if lacking and histories is None:
        raise ValueError(
            f"{who}: the schema has histories ({', '.join(lacking)}), the rows hold none as list "
            "columns, and `histories` is None. Pass `Histories(encoder, log)`."
        )
    if listed and histories is not None and not lacking:
        raise ValueError(
            f"{who}: the rows hold the histories {', '.join(listed)} as list columns, and "
            "`histories` gives them too. Leave one of them out."
        )
    if histories is not None and histories.schema != encoder.schema:
        raise ValueError(
            f"{who}: `histories` were encoded by another encoder (fingerprint "
            f"{histories.schema.fingerprint}; expected {encoder.schema.fingerprint})."
        )
    return lacking


def gather_windows(
    schema: FeatureSchema, name: str, columns: Any, times: Any, window: Any, length: Any = None
) -> dict[str, Any]:
    """Packed history of each row.

    Args:
        schema: A fitted schema.
        name: Name of the history.
        columns: int32 or `NarrowColumns`, `(events, columns)`, with at least one event.
        times: int64 `(events,)`, milliseconds, `NO_TIME` where unknown.
        window: int64 `(batch, 3)`: start, end and the row's own time.
        length: Positions of the history, the newest. Defaults to its `max_length`.

    Returns:
        `{name: (batch, length, columns)}`, and `(batch, length)` of each quantity that depends on
        the row, such as `f"{name}_age"`.
    """
    import tensorflow as tf

    history = schema.history(name)
    starts, ends, row_times = window[:, :1], window[:, 1:2], window[:, 2:]
    length = tf.constant(history.max_length, "int64") if length is None else length
    index = ends - length + tf.range(length)
    inside = index >= starts
    index = tf.where(inside, index, 0)
    packed = take_rows(columns, index) * tf.cast(inside, "int32")[..., None]
    gathered = {name: packed}
    event_times = tf.gather(times, index)
    known = inside & (event_times != NO_TIME) & (schema.time_key is not None)
    for quantity in history.of_row:
        values = quantity.of_time(row_times, tf.where(known, event_times, 0))
        ids = quantity.program(None).graph(tf, [])(values)
        gathered[f"{name}_{quantity.key}"] = tf.where(known, ids, 0)
    return gathered


def freezes_by_history(freeze_at: Any) -> dict[str, Any] | None:
    """The parts of a dict by history name; `None` for what freezes all alike."""
    return dict(freeze_at) if issubclass(type(freeze_at), Mapping) else None


def freeze_of(schema: FeatureSchema, history: str, freeze_at: FreezeAt | None) -> Freeze | None:
    """Where a history is frozen, of what may be a dict by history name."""
    if not isinstance(freeze_at, Mapping):
        return freeze_at
    for name in freeze_at:
        schema.history(name)
    return freeze_at.get(history)


def frozen_times(
    times: np.ndarray,
    users: np.ndarray,
    freeze_at: Freeze | None,
    schema: FeatureSchema,
    index: pd.Index | None = None,
) -> np.ndarray:
    """Times before which events enter a history, where it is frozen.

    Args:
        times: Milliseconds of the rows.
        users: Codes of their users.
        freeze_at: As in `Histories.windows`, but no dict.
        schema: What the times are.
        index: Index of the rows. Defaults to `None`: one time a row is refused.
    """
    if freeze_at is None:
        return times
    if isinstance(freeze_at, str) and freeze_at == "first_row":
        return pd.Series(times).groupby(users).transform("min").to_numpy()
    if schema.time_key is None:
        raise ValueError(
            f'freeze_at is {freeze_at!r} and the schema has no time_key; expected "first_row" or '
            "None."
        )
    given: Any = freeze_at
    if np.ndim(given):
        return np.minimum(times, _times_of_rows(given, schema, index))
    return np.minimum(times, schema.instants.of_value(given, "freeze_at (also 'first_row')"))


def _times_of_rows(freeze_at: Any, schema: FeatureSchema, index: pd.Index | None) -> np.ndarray:
    """One time a row, in milliseconds.

    Raises:
        ValueError: They are not those of the rows, or one is missing or no time.
    """
    if index is None:
        raise ValueError(
            "freeze_at holds one time a row, which a prepared folder's rows can't be given; "
            "expected one time, or one by history name."
        )
    is_series = issubclass(type(freeze_at), pd.Series)
    series = freeze_at if is_series else pd.Series(np.asarray(freeze_at))
    is_other = is_series and not series.index.equals(index)
    if len(series) != len(index) or is_other:
        raise ValueError(
            f"freeze_at has {len(series)} times{' of another index' if is_other else ''}, and "
            f"there are {len(index)} rows; expected one a row, as an array or a series with their "
            "index."
        )
    times = schema.instants.of_column(series, "freeze_at, one time a row")
    if missing := int((times == MISSING_TIME).sum()):
        raise ValueError(f"freeze_at has {missing} missing times; expected one in every row.")
    return times


def newest_before(
    event_users: np.ndarray,
    event_times: np.ndarray,
    users: np.ndarray,
    times: np.ndarray,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the newest events of each user before a time start and end; equal times are out."""
    is_event = np.concatenate([np.zeros(len(users), bool), np.ones(len(event_users), bool)])
    merged = np.lexsort(
        (is_event, np.concatenate([times, event_times]), np.concatenate([users, event_users]))
    )
    before = np.empty(len(merged), "int64")
    before[merged] = np.cumsum(is_event[merged])
    ends = before[: len(users)]
    return np.maximum(np.searchsorted(event_users, users), ends - length), ends
