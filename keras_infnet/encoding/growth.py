"""GrowthCounts: what an extended encoder learns of later rows, counted chunk by chunk."""

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from keras_infnet._base.checks import bad, check_integer
from keras_infnet.encoding.counts import EncoderCounts
from keras_infnet.encoding.labels import observed_rows
from keras_infnet.schema.canonical import missing_id
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.instants import MISSING_TIME, Time
from keras_infnet.schema.limits import Limits
from keras_infnet.schema.programs import Program
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.schema.vocabulary import Vocabulary

_WHO = "FeatureEncoder.extend"
_DAY = 86_400_000


class GrowthCounts(EncoderCounts):
    """Counts later rows and events, in chunks of any size, to extend a fitted encoder.

    Args:
        encoder: The fitted encoder, which stays as it is.
        apart: As in `EncoderCounts`.
    """

    def __init__(self, encoder: Any, apart: Collection[str] = ()) -> None:
        layout = encoder.schema.require_fitted()
        super().__init__(encoder.schema, apart)
        self._encoder = encoder
        self._dtypes.update(layout.dtypes)
        grows = {name for name, program in encoder.programs.items() if program.grows}
        self._quantities = {n: c for n, c in self._quantities.items() if n in grows}
        self._growing, self._rows, self._newest = grows, 0, MISSING_TIME
        # Features that had a value in no row so far.
        self._empty = {feature.name for feature in self.schema.features}

    def add_rows(self, frame: pd.DataFrame) -> None:
        """Counts later rows, with the histories that they hold as list columns."""
        for task in self.schema.tasks:
            # What shall be predicted need not be known of rows that add ids.
            if {task.label, *task.conditions} <= set(frame.columns):
                label = f"Task `{task.name}`, label `{task.label}`"
                task.read(frame[str(task.label)], observed_rows(task, frame), label)
        self._rows += len(frame)
        self._empty -= {
            f.name
            for f in self.schema.features
            if not _is_empty(f, self.schema.dtype_of(f.name), frame)
        }
        times = self._times(frame)
        if times is not None and len(times):
            self._newest = max(self._newest, int(times.max()))
        self._add_fields(frame)

    def merge(self, other: "EncoderCounts") -> None:
        """Adds what another has counted for the same encoder."""
        assert isinstance(other, GrowthCounts)
        super().merge(other)
        self._rows += other._rows
        self._newest = max(self._newest, other._newest)
        self._empty &= other._empty

    def extended(
        self,
        *,
        min_frequency: int | Mapping[str, int] | None = None,
        keep_days: float | None = None,
        max_ids: int | Mapping[str, int] | None = None,
        now: Time | None = None,
    ) -> Any:
        """The extended encoder; arguments, errors and warnings as of `FeatureEncoder.extend`."""
        before = self._encoder
        since = self._seen_since(keep_days, now)
        least = _by_table(self.schema, before.programs, "min_frequency", min_frequency)
        most = _by_table(self.schema, before.programs, "max_ids", max_ids)
        self._warn_of_empty()
        after = type(before)(self.schema)
        renewed: dict[str, list[int]] = {}
        for name, program in before.programs.items():
            limits = Limits()
            if name in self._owners:
                own = getattr(self._owners[name], "min_frequency", 1)
                limits = Limits(least.get(name, own), since, most.get(name))
            after.programs[name] = grown = self._grown(name, program, limits)
            if isinstance(grown, Vocabulary) and len(ids := grown.renewed(program)):
                renewed[name] = ids.tolist()
        sizes = {name: program.num_ids for name, program in after.programs.items()}
        layout = dataclasses.replace(
            self.schema.require_fitted(),
            sizes=sizes,
            vocabulary=after.digest(),
            parent=self.schema.fingerprint,
            renewed=renewed,
        )
        after.schema = self.schema.with_layout(layout)
        return after

    def _grown(self, name: str, program: Program, limits: Limits) -> Program:
        if name not in self._growing:
            return program
        if name in self._quantities:
            return program.extended(self._quantities[name], limits)
        assert isinstance(program, Vocabulary)
        if limits.frees and (program.last_seen is None or not self._timed):
            key = self.schema.time_key
            lacking = "the schema has no `time_key`"
            if key is not None:
                whose = "these rows" if not self._timed else "the rows that the encoder knows"
                lacking = f"{whose} have no times in column `{key}`, or none that can be read"
                if self._timed:
                    lacking += ", or it was saved by an earlier version"
            raise ValueError(
                f"{_WHO}: `keep_days` and `max_ids` free the ids of `{name}` that were seen "
                f"longest ago, and it is not known when that was: {lacking}. Fit the encoder on "
                "rows with times, or leave both out."
            )
        kind = self._owners[name].counted_type(self._dtypes[name])
        assert kind is not None
        grown = program.extended(self._table(name, kind), limits)
        return self._with_times(grown)

    def _seen_since(self, keep_days: Any, now: Time | None) -> int | None:
        """From when on values must have been seen, in milliseconds."""
        if keep_days is None:
            if now is not None:
                raise ValueError(
                    f"{_WHO}: now={now!r} without `keep_days`, which counts back from it."
                )
            return None
        is_number = issubclass(type(keep_days), Real) and not issubclass(type(keep_days), bool)
        if not (is_number and 0 < keep_days < np.inf):
            raise bad(_WHO, "keep_days", keep_days, "a number of days above 0")
        newest = self._newest
        if now is not None:
            newest = self.schema.instants.of_value(now, f"{_WHO}: now")
        return newest if newest == MISSING_TIME else newest - round(keep_days * _DAY)

    def _needs(self, owner: Feature) -> bool:
        return owner.name in self._growing

    def _warn_of_empty(self) -> None:
        if self._empty and self._rows:
            names = ", ".join(f"`{name}`" for name in sorted(self._empty))
            warnings.warn(
                f"{_WHO}: {names}: no value in any of {self._rows} rows, where all count as "
                "missing. If the log lacks the column by mistake, don't train on it.",
                stacklevel=4,
            )


def _is_empty(feature: Feature, dtype: str | None, frame: pd.DataFrame) -> bool:
    """Whether a frame has the feature's column, and no value there."""
    if feature.name not in frame.columns:
        return False
    series = frame[feature.name]
    if series.isna().all() or dtype is None:
        return bool(series.isna().all())

    def has_value(some: pd.Series) -> bool:
        values = feature.counted(feature.values(some, dtype, feature.label))
        return bool(pc.any(pc.not_equal(values, missing_id(dtype))).as_py())

    return not has_value(series.iloc[:1000]) and not has_value(series)


def _by_table(
    schema: FeatureSchema, programs: Mapping[str, Program], argument: str, given: Any
) -> dict[str, int]:
    """An argument for one feature or all, by table."""
    growing = [o.name for o in schema.table_owners() if isinstance(programs[o.name], Vocabulary)]
    of_all = not issubclass(type(given), Mapping)
    by_feature: dict[str, Any] = {}
    if given is not None:
        by_feature = dict.fromkeys(growing, given) if of_all else dict(given)
    found: dict[str, int] = {}
    for name, number in by_feature.items():
        table = schema.table_of(name)
        if table not in growing:
            raise ValueError(
                f"{_WHO}: {argument} names `{name}`, which has no vocabulary; expected a "
                "CategoricalFeature without `hash_buckets`."
            )
        what = argument if of_all else f"{argument} of `{name}`"
        check_integer(_WHO, what, number, 1, "a whole number, 1 or more")
        if found.setdefault(table, number) != number:
            raise ValueError(
                f"{_WHO}: {argument} has two numbers for the table `{table}`; give one."
            )
    return found
