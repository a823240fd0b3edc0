"""DayData: the rows of a run with what came before them, for one encoder; and the past on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet.daily.day_log import frame_of, table_of
from keras_infnet.data.batches import Batches
from keras_infnet.data.histories import Histories, lacking_histories, read_times
from keras_infnet.data.rate_state import RateState
from keras_infnet.data.rates import Rates, lacking_rates, past_of_log
from keras_infnet.data.relative import with_relative
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.schema import FeatureSchema

_WHO = "daily"
Events = Mapping[str, pd.DataFrame]
_HISTORIES, _RATES, _HELD, _REPLAY = "histories", "rates", "holdout.parquet", "replay.parquet"
_HELD_EVENTS, _LISTS = "holdout_events", "lists.parquet"
_DAY_MS = 86_400_000
_EVALUATION_BATCH = 2048


@dataclass(frozen=True)
class DayData:
    """Rows of a run with their past, for one encoder.

    Args:
        encoder: The encoder.
        rows: Rows in the order of the log, with the features of the past.
        histories: Events before them and of them; `None` where rows hold them, or there are none.
    """

    encoder: FeatureEncoder
    rows: pd.DataFrame
    histories: Histories | None

    def batches(self, rows: pd.DataFrame, **options: Any) -> Batches:
        """Batches of some of the rows; arguments as `Batches.from_rows`."""
        return Batches.from_rows(self.encoder, rows, self.histories, **options)

    def replayed(self, rows: pd.DataFrame, **options: Any) -> Batches:
        """Batches of rows of days before, which hold their histories as list columns."""
        return Batches.from_rows(self.encoder, rows, **options)

    def predict(self, model: Any, rows: pd.DataFrame) -> pd.DataFrame:
        """Predictions for some of the rows, a column for each output; errors as `Batches`."""
        self.encoder.check_model(model, _WHO)
        batches = self.batches(rows, labels=False, batch_size=_EVALUATION_BATCH)
        predicted = model.predict(batches, verbose=0)
        tasks = self.encoder.schema.tasks
        outputs = np.concatenate([np.asarray(predicted[task.name]) for task in tasks], axis=1)
        return pd.DataFrame(outputs, rows.index, [name for t in tasks for name in t.columns])

    def attach(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with their raw histories as list columns, as requests have them."""
        return rows.copy() if self.histories is None else self.histories.attach(rows)


def with_past(
    schema: FeatureSchema, rows: pd.DataFrame, train: np.ndarray, past: Path | None
) -> pd.DataFrame:
    """Rows with the features of the past, and those that are relative to a list.

    Args:
        schema: The schema; a fitted one where there is a past.
        rows: All rows of a run.
        train: Which of them train, bool `(rows,)`.
        past: What `save_past` wrote; `None` before the first version.
    """
    rows = _relative(schema, rows, past)
    if not lacking_rates(schema, rows):
        return rows
    if past is None:
        rates: Any = past_of_log(schema, rows, rows[train])
        return _relative(schema, rates.attach(rows), past)
    rates = Rates.from_state(schema, RateState.load(past / _RATES))
    return _relative(schema, rates.update(rows), past)


def data_of(
    encoder: FeatureEncoder, rows: pd.DataFrame, past: Path | None, events: Events | None = None
) -> DayData:
    """Rows of a run, which `with_past` gave, for one encoder.

    Args:
        encoder: The encoder.
        rows: The rows.
        past: What `save_past` wrote; `None` before the first version.
        events: Events of logs of their own by history, since that past.
    """
    return DayData(encoder, rows, _histories(encoder, rows, past, events or {}))


def save_past(
    folder: Path,
    encoder: FeatureEncoder,
    rows: pd.DataFrame,
    train: np.ndarray,
    held: pa.Table,
    past: Path | None,
    known: Events,
    later: Events,
) -> None:
    """Writes the past of the next run: up to the last training row, and what is after it.

    Args:
        folder: Folder to make.
        encoder: The encoder.
        rows: All rows of the run.
        train: Which of them train, bool `(rows,)`.
        held: The others, as they came; the next run trains on them.
        past: The past of this run; `None` before the first version.
        known: Events of logs of their own by history, those before the rows that are held out.
        later: The events after them, which the next run reads.
    """
    folder.mkdir()
    trained = rows[train]
    histories = _histories(encoder, trained, past, known)
    if histories is not None:
        histories.save(folder / _HISTORIES)
    if encoder.schema.past:
        if past is None or not (past / _RATES).is_dir():
            rates = Rates(encoder.schema, trained)
        else:
            rates = Rates.from_state(encoder.schema, RateState.load(past / _RATES))
            rates.update(trained)
        rates.state().save(folder / _RATES)
    pq.write_table(held, folder / _HELD, compression="zstd")
    computed = [f.name for f in encoder.schema.features if f.of_list]
    if {*computed} - {*held.column_names}:
        whole = frame_of([*_listed(past), table_of(rows.drop(columns=computed))])
        lists, is_trained = encoder.schema.lists_of(whole, _WHO), np.ones(len(whole), bool)
        is_trained[len(whole) - len(rows) :] = train
        goes_on = is_trained & np.isin(lists, lists[~is_trained & (lists >= 0)])
        if goes_on.any():
            pq.write_table(table_of(whole[goes_on]), folder / _LISTS, compression="zstd")
    for name, events in later.items():
        (folder / _HELD_EVENTS).mkdir(exist_ok=True)
        file = folder / _HELD_EVENTS / f"{name}.parquet"
        pq.write_table(table_of(events), file, compression="zstd")


def save_replay(
    folder: Path,
    data: DayData,
    rows: pd.DataFrame,
    past: Path | None,
    days: int,
    share: float,
    seed: int,
) -> None:
    """Writes a sample of the training rows of the last days, with their histories as lists.

    Args:
        folder: What `save_past` made.
        data: The data.
        rows: Training rows of the run.
        past: The past of this run; `None` before the first version.
        days: How many days back from the first of these rows others are kept.
        share: Share of the rows of a run that is kept.
        seed: Seed of the sample.
    """
    number = max(1, round(min(1.0, share) * len(rows)))
    chosen = np.random.default_rng(seed).choice(len(rows), number, replace=False)
    sample = data.attach(rows.iloc[np.sort(chosen)])
    before = replay_rows(past)
    if before is not None:
        schema = data.encoder.schema
        oldest = read_times(schema, rows, _WHO).min() - days * _DAY_MS
        before = before[read_times(schema, before, _WHO) >= oldest]
        sample = frame_of(
            [table_of(before), table_of(sample)] if len(before) else [table_of(sample)]
        )
    pq.write_table(table_of(sample), folder / _REPLAY, compression="zstd")


def replay_rows(past: Path | None) -> pd.DataFrame | None:
    """What `save_replay` wrote, if it did."""
    if past is None or not (past / _REPLAY).is_file():
        return None
    return frame_of([pq.read_table(past / _REPLAY)])


def held_out(past: Path | None) -> list[pa.Table]:
    """The rows that the version before has not trained on, as they came."""
    return [] if past is None else [pq.read_table(past / _HELD)]


def held_events(past: Path | None, name: str) -> list[pa.Table]:
    """The events of a log of its own that the version before has not seen."""
    return [] if past is None else [pq.read_table(past / _HELD_EVENTS / f"{name}.parquet")]


def _listed(past: Path | None) -> list[pa.Table]:
    """Rows that were trained on, of lists that went on in rows that were held out."""
    if past is None or not (past / _LISTS).is_file():
        return []
    return [pq.read_table(past / _LISTS)]


def _relative(schema: FeatureSchema, rows: pd.DataFrame, past: Path | None) -> pd.DataFrame:
    """Rows with their numbers relative to lists, which may have begun in the past."""
    before = [table.select([c for c in table.column_names if c in rows]) for table in _listed(past)]
    if not before:
        return with_relative(schema, rows, _WHO)
    found = with_relative(schema, frame_of([*before, table_of(rows)]), _WHO)
    found = found[len(found) - len(rows) :]
    return rows.assign(**{str(name): found[name].to_numpy() for name in found if name not in rows})


def _histories(
    encoder: FeatureEncoder, rows: pd.DataFrame, past: Path | None, events: Events
) -> Histories | None:
    if not lacking_histories(encoder.schema, rows):
        return None
    if past is None:
        return Histories(encoder, rows, events=events)
    return Histories.load(past / _HISTORIES, encoder).append(rows, events)
