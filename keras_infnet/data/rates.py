"""Rates: what the rows before a row say, for the features of the past of a schema."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.data.histories import Freeze, check_in_order, frozen_times, read_times
from keras_infnet.data.past_rows import KeyColumn, PastGroup, key_dtype, read_keys
from keras_infnet.data.rate_state import RateState, compacted, what_counts
from keras_infnet.encoding.actions import ActionSums, read_action
from keras_infnet.schema.canonical import column, user_codes
from keras_infnet.schema.frames import Frame, as_frame, as_rows
from keras_infnet.schema.instants import shown
from keras_infnet.schema.past import PastFeature, PastRows
from keras_infnet.schema.schema import FeatureSchema

_WHO = "Rates"


class Rates:
    """The past rows of a log, by keys and time, and what they say of other rows.

    Only rows strictly earlier than a row are its past: it never sees itself, nor what happened in
    the same millisecond. What is counted is exact, whatever the number of keys and windows; memory
    is that of the past rows.

    Args:
        schema: A fitted schema with features of the past, such as `RateFeature`.
        log: Past rows in any order, with times, keys and actions.
        action_rates: Rate of each action, the `p` of rates. Defaults to those of the training rows
            that the schema was fitted on.

    Attributes:
        until: Milliseconds of the newest past row.

    Raises:
        ValueError: The schema has no such feature, a column is missing or holds what it must not,
            or the rate of an action is unknown.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[
        ...         keras_infnet.RateFeature("ctr", "user", action="click", prior=1),
        ...         keras_infnet.CountFeature("seen", "user"),
        ...     ],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame({"user_id": 1, "time_ms": [10, 20, 30, 30], "click": [1, 0, 0, 1]})
        >>> log["time_ms"] += 1_790_000_000_000
        >>> rates = keras_infnet.data.Rates(schema, log, action_rates={"click": 0.5})
        >>> rates.attach(log)["seen"].tolist()
        [0.0, 1.0, 2.0, 2.0]
        >>> rates.attach(log)["ctr"].tolist()
        [0.5, 0.75, 0.5, 0.5]
    """

    def __init__(
        self, schema: FeatureSchema, log: Frame, action_rates: Mapping[str, float] | None = None
    ) -> None:
        log = as_rows(log, _WHO)
        self._begin(schema, action_rates)
        times = read_times(schema, log, _WHO)
        self._fill([log], [times], {})
        self.until = int(times.max())

    @classmethod
    def from_state(
        cls,
        schema: FeatureSchema,
        state: RateState,
        action_rates: Mapping[str, float] | None = None,
    ) -> "Rates":
        """What `state` gave, to go on with.

        Args:
            schema: A fitted schema, whose features of the past count what the state has counted; it
                may be fitted on later rows than those of the state.
            state: The state. Only rows of its last time and later can be asked for.
            action_rates: As in the class.

        Raises:
            ValueError: The state lacks a feature, or has counted something else for it.
        """
        state.check(schema)
        rates = cls.__new__(cls)
        rates._begin(schema, action_rates)
        rates.until = state.until
        rates._fill([], [], state.tables)
        return rates

    def attach(self, rows: Frame, freeze_at: Freeze | None = None) -> pd.DataFrame:
        """Rows with the columns of the features of the past; those that they hold stay.

        Args:
            rows: Rows with times and keys; they need not be among the past rows.
            freeze_at: A time: no row at or after it is past. `"first_row"`: each user's first row
                in `rows`; or one time a row. Windows and seconds still count from the row's own
                time.

        Returns:
            A copy with one float32 column a feature.

        Raises:
            ValueError: A column is missing or holds what it must not, rows are older than a state,
                or `freeze_at` can't freeze a column that the rows hold.
        """
        frame = as_frame(rows, "Rates.attach")
        lacking = lacking_rates(self.schema, frame)
        past = {f.name for f in self.schema.past}
        of_past = (f for f in self.schema.features if {f.name, getattr(f, "of", None)} & past)
        held = [f.name for f in of_past if f.name in frame.columns]
        if freeze_at is not None and held:
            raise ValueError(
                f"Rates.attach: `freeze_at` can't freeze {', '.join(f'`{n}`' for n in held)}, "
                "which the rows hold as columns. Drop the columns, to have them computed."
            )
        return frame.assign(**self.values(frame, lacking, freeze_at))

    def values(
        self, frame: pd.DataFrame, names: Sequence[str], freeze_at: Freeze | None = None
    ) -> dict[str, np.ndarray]:
        """Values float32 `(rows,)` of some features of the past, as in `attach`."""
        if not names:
            return {}
        times = read_times(self.schema, frame, _WHO)
        users = self._users(frame, freeze_at)
        ends = frozen_times(times, users, freeze_at, self.schema, frame.index)
        self._check_not_older(np.minimum(times, ends), frame.index)
        look_up = _LookUp(frame, times, ends)
        return {f.name: self._value(f, look_up) for f in self.schema.past if f.name in names}

    def update(self, rows: Frame) -> pd.DataFrame:
        """Adds past rows, such as those of a day that is over.

        Rates that came from a state keep no more than the state of what they know.

        Args:
            rows: Rows with times, keys and actions, none older than `until`.

        Returns:
            A copy with the columns of the features of the past, as `attach` gives them; rows of the
            day are past of later ones. Day by day the values are those of the whole log at once.

        Raises:
            ValueError: A row is older than the newest past row, or a column is missing or holds
                what it must not.
        """
        frame = as_rows(rows, "Rates.update")
        times = read_times(self.schema, frame, "Rates.update")
        check_in_order("Rates.update", times, self.until, frame.index)
        self._fill([*self._frames, frame], [*self._times, times], self._tables)
        attached = self.attach(frame)
        self.until = int(times.max())
        if self._tables:
            self._fill([], [], self.state().tables)
        return attached

    def state(self) -> RateState:
        """The table that a feature store needs of each feature, which `from_state` reads again."""
        tables: dict[str, pd.DataFrame] = {}
        for feature in self.schema.past:
            group, known, ones = self._pasts[feature.name]
            table = compacted(feature, group, known, ones, self.until)
            tables[feature.name] = table.assign(**feature.constants(self._rate(feature)))
        return RateState(self.until, what_counts(self.schema), tables)

    @property
    def added(self) -> pd.DataFrame | None:
        """The rows that `update` added to a log, as far as they are needed."""
        if len(self._frames) < 2:
            return None
        needed = dict.fromkeys(self.schema.log_columns())
        return pd.concat([f[[c for c in needed if c in f]] for f in self._frames[1:]])

    def _begin(self, schema: FeatureSchema, action_rates: Mapping[str, float] | None) -> None:
        if not schema.past:
            raise ValueError(
                "Rates: the schema has no feature of the past; expected a RateFeature, "
                "CountFeature or SecondsSinceFeature."
            )
        self.schema = schema
        if action_rates is None:
            action_rates = schema.require_fitted().action_rates
        self._rates = dict(action_rates)
        for feature in schema.past:
            if feature.action is not None and feature.action not in self._rates:
                raise ValueError(
                    f"Rates: the rate of action `{feature.action}`, of feature `{feature.name}`, "
                    "is unknown. Fit an encoder on training rows, or give `action_rates`."
                )

    def _fill(
        self,
        frames: list[pd.DataFrame],
        times: list[np.ndarray],
        tables: Mapping[str, pd.DataFrame],
    ) -> None:
        """Takes past rows, and those that the tables of a state stand for."""
        made = _PastRows(self.schema, frames, times, tables)
        pasts = {feature.name: made.of(feature) for feature in self.schema.past}
        self._pasts, self._frames, self._times, self._tables = pasts, frames, times, tables

    def _rate(self, feature: PastFeature) -> float:
        return 0.0 if feature.action is None else self._rates[feature.action]

    def _value(self, feature: PastFeature, look_up: "_LookUp") -> np.ndarray:
        group, known, ones = self._pasts[feature.name]
        rows = look_up.of(feature, group)
        found = feature.of_past(rows.past(feature, known, ones), self._rate(feature))
        values = np.empty(len(found), "float32")
        values[rows.order] = found
        return values

    def _users(self, frame: pd.DataFrame, freeze_at: Any) -> np.ndarray:
        """Codes of the rows' users, where the time depends on them; nobody's rows are apart."""
        if not (isinstance(freeze_at, str) and freeze_at == "first_row"):
            return np.zeros(len(frame), "int64")
        label = f"{_WHO}, user key `{self.schema.user_key}`"
        users = user_codes(column(frame, self.schema.user_key, label), label)
        return np.where(users < 0, -1 - np.arange(len(users)), users)

    def _check_not_older(self, times: np.ndarray, index: pd.Index) -> None:
        """A state has forgotten what older rows need."""
        if self._tables and (older := times < self.until).any():
            raise ValueError(
                f"Rates: {int(older.sum())} of {len(times)} rows are asked for at a time before "
                f"the state, which is of {shown(self.until)} (such as row {index[older][0]}, at "
                f"{shown(times[older][0])}). Ask for later rows, or make Rates of the whole log."
            )


class _PastRows:
    """Past rows by feature, of frames and of the tables of a state; what is equal is read once."""

    def __init__(
        self,
        schema: FeatureSchema,
        frames: Sequence[pd.DataFrame],
        times: Sequence[np.ndarray],
        tables: Mapping[str, pd.DataFrame],
    ) -> None:
        self._schema, self._frames, self._tables = schema, frames, tables
        self._times = np.concatenate([np.zeros(0, "int64"), *times])
        self._moments: Any = None
        self._columns: dict[Any, KeyColumn] = {}
        self._groups: dict[Any, PastGroup] = {}
        self._actions: dict[str, np.ndarray] = {}
        self._sorted: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, feature: PastFeature) -> tuple[PastGroup, np.ndarray, np.ndarray]:
        """The past rows of a feature, and how many known rows and ones each stands for."""
        # Tables are each feature's own.
        own = feature.name if self._tables else None
        if (own, feature.keys) not in self._groups:
            columns = [self._column(feature, key, own) for key in feature.keys]
            self._groups[own, feature.keys] = PastGroup(columns, *self._ranked(own))
        group = self._groups[own, feature.keys]
        what = (own, feature.keys, feature.action)
        if what not in self._sorted:
            known, ones = self._counts(feature)
            self._sorted[what] = known[group.order], ones[group.order]
        return group, *self._sorted[what]

    def _column(self, feature: PastFeature, key: str, own: str | None) -> KeyColumn:
        if (own, key) not in self._columns:
            label = f"Feature `{feature.name}`, key `{key}`"
            tables = [self._tables[own]] if own else []
            frames = [*(table for table in tables if len(table)), *self._frames]
            dtype = key_dtype(frames, key, label)
            parts = [read_keys(frame, key, dtype, label) for frame in frames]
            values = pa.concat_arrays(parts) if parts else pa.nulls(0)
            self._columns[own, key] = KeyColumn.of(key, dtype, values)
        return self._columns[own, key]

    def _ranked(self, own: str | None) -> tuple[np.ndarray, np.ndarray]:
        """The distinct times, and the place of each past row's."""
        if own is None:
            if self._moments is None:
                self._moments = np.unique(self._times, return_inverse=True)
            return self._moments
        before = self._tables[own]["last_time"].to_numpy("int64")
        return np.unique(np.concatenate([before, self._times]), return_inverse=True)

    def _counts(self, feature: PastFeature) -> tuple[np.ndarray, np.ndarray]:
        if feature.action is None:
            known = np.ones(len(self._times), "int8")
            ones = np.zeros(len(self._times), "int8")
        else:
            if feature.action not in self._actions:
                read = [read_action(self._schema, f, feature.action) for f in self._frames]
                self._actions[feature.action] = np.concatenate([np.zeros(0, "int8"), *read])
            values = self._actions[feature.action]
            known, ones = (values >= 0).astype("int8"), (values == 1).astype("int8")
        if not self._tables:
            return known, ones
        table = self._tables[feature.name]
        before = (table[name].to_numpy("int64") for name in ("rows", "ones"))
        known, ones = (np.concatenate(pair) for pair in zip(before, (known, ones), strict=True))
        return known, ones


class _LookUp:
    """Rows that features are asked for, with what several features have in common.

    Args:
        frame: The rows.
        times: Their milliseconds.
        ends: Milliseconds before which past rows are known, if at once.
    """

    def __init__(self, frame: pd.DataFrame, times: np.ndarray, ends: np.ndarray) -> None:
        self._frame, self._times, self._ends = frame, times, ends
        self._distinct, self._inverse = np.unique(times, return_inverse=True)
        self._of_columns: dict[KeyColumn, np.ndarray] = {}
        self._in_order: dict[PastGroup, _RowsInOrder] = {}

    def of(self, feature: PastFeature, group: PastGroup) -> "_RowsInOrder":
        """The rows in the order of their keys and times."""
        if group not in self._in_order:
            codes = group.find([self._codes(feature, key) for key in group.columns])
            order = np.argsort(codes * max(1, len(self._distinct)) + self._inverse)
            ranks = None
            if (self._ends < self._times).any():
                ranks = np.searchsorted(group.moments, self._ends)[order]
            in_order = (codes[order], self._inverse[order])
            self._in_order[group] = _RowsInOrder(group, self._distinct, order, *in_order, ranks)
        return self._in_order[group]

    def _codes(self, feature: PastFeature, key: KeyColumn) -> np.ndarray:
        if key not in self._of_columns:
            label = f"Feature `{feature.name}`, key `{key.name}`"
            self._of_columns[key] = key.find(read_keys(self._frame, key.name, key.dtype, label))
        return self._of_columns[key]


class _RowsInOrder:
    """Rows in the order of keys and times, in which the past rows lie, too.

    Args:
        group: The past rows.
        distinct: Milliseconds that rows have.
        order: The rows in this order.
        codes: Codes of their keys.
        moments: Place of each row's time among `distinct`.
        ends: Rank of the time before which past rows are known, where it is frozen.
    """

    def __init__(
        self,
        group: PastGroup,
        distinct: np.ndarray,
        order: np.ndarray,
        codes: np.ndarray,
        moments: np.ndarray,
        ends: np.ndarray | None,
    ) -> None:
        self.order, self._group, self._codes = order, group, codes
        self._distinct, self._moments, self._ends = distinct, moments, ends
        self._until: dict[int, np.ndarray] = {}

    def past(self, feature: PastFeature, known: np.ndarray, ones: np.ndarray) -> PastRows:
        """What lies before each row."""
        since = feature.since(self._distinct)
        if since is None:
            starts = self._group.begins(self._codes)
        else:
            starts = self._first(self._ranks(since))
        if feature.delay_ms not in self._until:
            ranks = self._ranks(self._distinct - feature.delay_ms)
            ranks = ranks if self._ends is None else np.minimum(ranks, self._ends)
            self._until[feature.delay_ms] = self._first(ranks)
        ends = self._until[feature.delay_ms]
        times = self._distinct[self._moments]
        return PastRows(np.minimum(starts, ends), ends, times, known, ones, self._group.times)

    def _first(self, ranks: np.ndarray) -> np.ndarray:
        return self._group.first(self._codes, ranks)

    def _ranks(self, of_distinct: np.ndarray) -> np.ndarray:
        """Ranks among the past rows' times, of a time for each distinct one."""
        return np.searchsorted(self._group.moments, of_distinct)[self._moments]


def past_of_log(
    schema: FeatureSchema, log: pd.DataFrame, training: pd.DataFrame | None = None
) -> Rates | None:
    """The past rows of a log; `None` where there is no such feature, or the log holds them all.

    Args:
        schema: The schema.
        log: All rows.
        training: Rows that the actions' rates are learned from, as an encoder does. Defaults to
            none: the schema is fitted.
    """
    if not lacking_rates(schema, log):
        return None
    if training is None:
        return Rates(schema, log)
    sums = ActionSums(schema)
    sums.add(training)
    return Rates(schema, log, sums.rates())


def lacking_rates(schema: FeatureSchema, frame: pd.DataFrame) -> list[str]:
    """Names of the features of the past that the rows lack as columns."""
    return [f.name for f in schema.past if f.name not in frame.columns]
