"""Features of the past of a log larger than memory, computed by partitions of their keys."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet.data.rate_state import RateState
from keras_infnet.data.rates import Rates
from keras_infnet.data.spool import Spool
from keras_infnet.data.whole_files import new_folder, whole_file
from keras_infnet.encoding.actions import ActionSums
from keras_infnet.schema.past import PastFeature
from keras_infnet.schema.schema import FeatureSchema

# Calls a function with each number below another, in this process or on workers.
Run = Callable[[Callable[[int], None], int], None]
_ROWS = "#rows"


@dataclass(frozen=True)
class PastColumns:
    """Columns of the features of the past, beside the rows on disk.

    The rows of each combination of keys lie in one partition of a spool of these keys, so that it
    tells their values; these are then put in the order of the log, to be read by row number.

    Args:
        folder: Where all lies.
        schema: The schema.
        partitions: Number of partitions.
        more: Columns that are needed to tell training rows.
        states: Where what is known of the past after these rows is written, for the next day.
            Defaults to `None`: nowhere.
        before: Where it lies from before these rows. Defaults to `None`: they are the first.
    """

    folder: Path
    schema: FeatureSchema
    partitions: int
    more: tuple[str, ...]
    states: Path | None = None
    before: Path | None = None

    def write(self, chunk: str, table: pa.Table, source: str) -> None:
        """Writes the keys, times and actions of a chunk of the log."""
        for keys in self._by_keys(table.column_names):
            # Those of all actions, which the rates of training rows are counted of.
            needed = {*self._schema_of(list(self.schema.past)).log_columns(), *self.more}
            needed -= {key for f in self.schema.past for key in f.keys} - {*keys}
            names = [name for name in table.column_names if name in needed]
            self._spool(keys).write(chunk, table.select(names), source)

    def keep(self, chunks: set[str]) -> None:
        """Takes away all other chunks."""
        for keys in self._by_keys(()):
            self._spool(keys).keep(chunks)

    def compute(
        self,
        rates: Mapping[str, float] | None,
        training: Callable[[pd.DataFrame], pd.DataFrame],
        run: Run,
    ) -> None:
        """Computes all columns.

        Args:
            rates: Rate of each action. `None`: that of the training rows.
            training: Which of some rows are training rows.
            run: Computes partitions.
        """
        spools = [keys for keys in self._by_keys(()) if self._spool(keys).chunks()]
        self._check_before(spools)
        if not spools:
            return
        chunks = self._spool(spools[0]).chunks()
        names = self._by_keys(chunks[0].columns.names)
        if rates is None:
            sums = ActionSums(self.schema)
            for chunk in chunks:
                sums.add(training(self._spool(spools[0]).rows_of(chunk)))
            rates = sums.rates()
        known = dict(rates)
        new_folder(self._values)

        def values(number: int) -> None:
            place, partition = divmod(number, self.partitions)
            frame = self._spool(spools[place]).partition(partition)
            features = names[spools[place]]
            if len(frame):
                found = self._values_of(
                    features, frame, known, f"{self._place(spools[place])}-{partition}"
                )
                with whole_file(self._part(place, partition)) as file, file.open("wb") as opened:
                    np.savez(opened, allow_pickle=False, **{_ROWS: frame.index.to_numpy()}, **found)

        run(values, len(spools) * self.partitions)
        number = sum(chunk.place.rows for chunk in chunks)
        for place, keys in enumerate(spools):
            self._gather(place, [f.name for f in names[keys]], number)

    def attach(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of the log, whose index is their number, with the columns that were computed."""
        found = {f.name: self._column(f.name) for f in self.schema.past}
        rows = frame.index.to_numpy()
        columns = {n: np.load(p, mmap_mode="r")[rows] for n, p in found.items() if p.exists()}
        return frame.assign(**columns) if columns else frame

    def _check_before(self, spools: Sequence[tuple[str, ...]]) -> None:
        """A ValueError if the days before computed other features than these rows need."""
        if self.before is None:
            return
        found = {path.name.rpartition("-")[0] for path in self.before.glob("keys-*")}
        if other := sorted(found ^ {self._place(keys) for keys in spools}):
            keys = [keys for keys in self._by_keys(()) if self._place(keys) in other]
            names = [f"`{f.name}`" for f in self.schema.past if f.keys in keys]
            raise ValueError(
                f"prepare, append=True: {', '.join(names)} are columns of the log on some days and "
                "are to be computed on others, which then lack what the former had. Give all days "
                "alike."
            )

    def _values_of(
        self,
        features: list[PastFeature],
        frame: pd.DataFrame,
        action_rates: Mapping[str, float],
        name: str,
    ) -> dict[str, np.ndarray]:
        """Values of a partition's rows, whose past goes on from the days before."""
        schema, names = self._schema_of(features), [f.name for f in features]
        before = None if self.before is None else self.before / name
        if before is not None and before.exists():
            rates = Rates.from_state(schema, RateState.load(before), action_rates)
            attached = rates.update(frame)
            found = {n: np.asarray(attached[n]) for n in names}
        else:
            rates = Rates(schema, frame, action_rates)
            found = rates.values(frame, names)
        if self.states is not None:
            rates.state().save(self.states / name, overwrite=True)
        return found

    def _gather(self, place: int, names: list[str], number: int) -> None:
        """Puts the values of all partitions in the order of the log."""
        columns = {
            name: np.lib.format.open_memmap(
                self._column(name), "w+", np.dtype("float32"), (number,)
            )
            for name in names
        }
        for partition in range(self.partitions):
            path = self._part(place, partition)
            if path.exists():
                with np.load(path, allow_pickle=False) as found:
                    rows = found[_ROWS]
                    for name, column in columns.items():
                        column[rows] = found[name]
                path.unlink()
        for column in columns.values():
            column.flush()

    def _by_keys(self, held: Sequence[str]) -> dict[tuple[str, ...], list[PastFeature]]:
        """The features that rows of these columns lack, by their keys."""
        by_keys: dict[tuple[str, ...], list[PastFeature]] = {}
        for feature in self.schema.past:
            if feature.name not in held:
                by_keys.setdefault(feature.keys, []).append(feature)
        return by_keys

    def _schema_of(self, features: list[PastFeature]) -> FeatureSchema:
        """A schema of some features of the past alone."""
        alone = tuple(dataclasses.replace(feature, table=None) for feature in features)
        return dataclasses.replace(self.schema, features=alone, histories=(), layout=None)

    def _spool(self, keys: tuple[str, ...]) -> Spool:
        return Spool(self.folder / self._place(keys), self.partitions, keys, "key")

    def _place(self, keys: tuple[str, ...]) -> str:
        return f"keys-{list(self._by_keys(())).index(keys)}"

    @property
    def _values(self) -> Path:
        return self.folder / "values"

    def _part(self, place: int, partition: int) -> Path:
        return self._values / f"{place}-{partition}.npz"

    def _column(self, name: str) -> Path:
        return self._values / f"{name}.npy"
