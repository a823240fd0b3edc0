"""EncoderCounts: what an encoder learns, counted chunk by chunk."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.encoding.actions import ActionSums
from keras_infnet.encoding.events import has_list_columns, listed_events, log_events
from keras_infnet.encoding.labels import LabelSums
from keras_infnet.schema.canonical import column, infer_dtype
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.layout import Layout
from keras_infnet.schema.programs import Program
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.value_counts import ValueCounts
from keras_infnet.schema.vocabulary import Vocabulary


class EncoderCounts:
    """Counts training rows and events, in chunks of any size, for one encoder.

    Memory is that of the distinct values of each field, whatever the number of rows; what is
    learned does not depend on how rows are cut into chunks.

    Args:
        schema: What the columns are.
        apart: Histories whose events are no rows, but in a log of their own.
    """

    def __init__(self, schema: FeatureSchema, apart: Collection[str] = ()) -> None:
        self.schema, self._apart = schema, frozenset(apart)
        self._labels, self._actions = LabelSums(schema), ActionSums(schema)
        self._owners = {owner.name: owner for owner in schema.table_owners()}
        # Declared dtypes of identifiers; others are added when a chunk shows them.
        self._dtypes = {
            name: dtype
            for name, owner in self._owners.items()
            if owner.has_dtype and (dtype := schema.declared_dtype(name)) is not None
        }
        self._tables: dict[str, ValueCounts] = {}
        # Whether all rows had times: the encoder then knows when each value was seen last.
        self._timed = schema.time_key is not None
        self._quantities = {
            f"{h.name}/#{quantity.key}": ValueCounts(quantity.counted_type)
            for h in schema.histories
            for quantity in h.of_event
            if quantity.learns
        }

    def add_rows(self, frame: pd.DataFrame) -> None:
        """Counts training rows, with the histories that they hold as list columns."""
        self._labels.add(frame)
        self._actions.add(frame)
        self._add_fields(frame)

    def add_events(self, name: str, frame: pd.DataFrame) -> None:
        """Counts events of a history that are no rows; they may lack actions (then unknown)."""
        history = self.schema.history(name)
        times = self._times(frame)
        for field in history.fields:
            feature = self.schema.feature(field)
            if feature.has_dtype:
                self._add_values(frame, feature, f"{history.label}, field `{field}`", times)
        self._add_quantities(name, log_events(history, frame, may_lack=True))

    def _with_times(self, program: Program) -> Program:
        """The program, which knows no times if some rows had none."""
        if isinstance(program, Vocabulary) and not self._timed:
            program.last_seen = None
        return program

    def _add_fields(self, frame: pd.DataFrame) -> None:
        """Counts what rows and their listed events hold."""
        times = self._times(frame)
        self._timed &= times is not None
        for feature in self.schema.features:
            self._add_values(frame, feature, feature.label, times)
        for history in self.schema.histories:
            if has_list_columns(history, frame):
                events, bounds = listed_events(self.schema, history, frame, self._dtype)
                of_events = None if times is None else np.repeat(times, np.diff(bounds))
                for field in history.fields:
                    # Edges of numbers are those of the rows.
                    if self.schema.feature(field).has_dtype:
                        self._count(self.schema.feature(field), events[field], of_events)
                self._add_quantities(history.name, events)
            elif history.name not in self._apart:
                self._add_quantities(history.name, log_events(history, frame))

    def _times(self, frame: pd.DataFrame) -> np.ndarray | None:
        """The times of rows; None where they are not known, which matters to nothing yet."""
        key = self.schema.time_key
        if key is None or key not in frame.columns:
            return None
        try:
            return self.schema.instants.of_column(frame[key], f"Column `{key}`")
        except ValueError:
            return None

    def merge(self, other: "EncoderCounts") -> None:
        """Adds what another has counted of the same schema, such as a worker."""
        self._timed &= other._timed
        self._labels.merge(other._labels)
        self._actions.merge(other._actions)
        for name, dtype in other._dtypes.items():
            mine = self._dtypes.setdefault(name, dtype)
            if mine != dtype:
                raise ValueError(
                    f"{self._owners[name].label}: some chunks hold {mine} values and others "
                    f"{dtype}. Declare its dtype."
                )
        for name, counts in other._tables.items():
            self._table(name, counts.kind).merge(counts)
        for name, counts in self._quantities.items():
            counts.merge(other._quantities[name])

    def fit(self, encoder: Any) -> None:
        """Gives the encoder what was counted.

        Raises:
            ValueError: A task has no observed label, or all of them are equal; or the action of a
                feature of the past has no value.
        """
        rates, action_rates = self._labels.base_rates(), self._actions.rates()
        dtypes = {
            name: self._dtypes.get(name, "string")
            for name, owner in self._owners.items()
            if owner.has_dtype
        }
        for name, owner in self._owners.items():
            dtype = dtypes.get(name)
            kind = owner.counted_type(dtype)
            counts = None if kind is None else self._table(name, kind)
            program = owner.learn(counts, dtype)
            assert program is not None
            encoder.programs[name] = self._with_times(program)
        for h in self.schema.histories:
            for quantity in h.of_event:
                if quantity.learns:
                    name = f"{h.name}/#{quantity.key}"
                    encoder.programs[name] = quantity.learn(self._quantities[name])
        sizes = {name: program.num_ids for name, program in encoder.programs.items()}
        layout = Layout(sizes, dtypes, rates, encoder.digest(), action_rates)
        encoder.schema = self.schema.with_layout(layout)

    def _add_values(
        self, frame: pd.DataFrame, feature: Feature, label: str, times: np.ndarray | None
    ) -> None:
        owner = self._owners.get(self.schema.table_of(feature.name))
        if owner is None or not self._needs(owner):
            return
        series = column(frame, feature.name, label)
        dtype = self._dtype(feature.name, series, label)
        if feature.has_dtype and dtype is None:
            return
        if owner.counted_type(dtype) is not None:
            self._count(feature, feature.values(series, dtype, label), times)

    def _count(self, feature: Feature, values: pa.Array, times: np.ndarray | None) -> None:
        table = self.schema.table_of(feature.name)
        kind = self._owners[table].counted_type(self._dtypes.get(table))
        if kind is None:
            return
        counts = self._table(table, kind)
        of_counted = None
        if counts.timed and times is not None:
            of_counted = feature.counted_times(values, times)
        counts.add(feature.counted(values), of_counted)

    def _add_quantities(self, name: str, events: Any) -> None:
        for quantity in self.schema.history(name).of_event:
            if (counts := self._quantities.get(f"{name}/#{quantity.key}")) is not None:
                counts.add(quantity.counted(events))

    def _needs(self, owner: Feature) -> bool:
        """Whether the values of a table are read."""
        return owner.fixed_size is None or owner.name not in self._dtypes

    def _dtype(self, feature: str, series: pd.Series, label: str) -> str | None:
        """The dtype of a feature's identifiers, which the first values tell if nothing does."""
        if not self.schema.feature(feature).has_dtype:
            return None
        table = self.schema.table_of(feature)
        if table not in self._dtypes and (found := infer_dtype(series, label)) is not None:
            self._dtypes[table] = found
        return self._dtypes.get(table)

    def _table(self, name: str, kind: pa.DataType) -> ValueCounts:
        timed = self.schema.time_key is not None and self._owners[name].has_dtype
        return self._tables.setdefault(name, ValueCounts(kind, timed))
