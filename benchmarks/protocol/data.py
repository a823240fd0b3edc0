"""The rows that all runs share: a log, its split, its fingerprint, the simulated ones."""

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

import keras_infnet
from benchmarks.protocol.logs import LOGS, files_of

# A number is the most events that a history keeps; without one it is the schema's. `scales`: with
# groups by age and by place.
HISTORIES = ("exposures", "positives", "exposures-25", "exposures-50", "exposures-200")
HISTORIES += ("exposures-scales", "positives-scales")
AGES, NEWEST = {"hour": "1h", "day": "1d", "week": "7d"}, 20
SPLITS = ("validation", "test")
_EDGE_BYTES = 1 << 20


# Together, and each of three tasks alone.
@lru_cache(maxsize=4)
def load_data(
    path: Path,
    tasks: tuple[str, ...],
    histories: str,
    log: str = "kuairand",
    dims: str | None = None,
) -> keras_infnet.RankingData:
    """Reads and encodes a log; `histories` are those of KuaiRand's layout, `dims` the schema's."""
    history, _, change = histories.partition("-")
    data = open_log(log, path, tasks, history)
    frame, warm, events = data.frame(), LOGS[log].warm_events(data), LOGS[log].events(data)
    schema = replace(LOGS[log].schema(data), dims=dims)
    if change == "scales":
        schema = with_scales(schema)
    elif change:
        cut = tuple(replace(s, max_length=int(change)) for s in schema.histories)
        schema = replace(schema, histories=cut)
    split = split_rows(data, frame)
    return keras_infnet.RankingData(
        schema, frame, validation=split.validation, test=split.test, warm=warm, events=events
    )


def with_scales(schema: keras_infnet.FeatureSchema) -> keras_infnet.FeatureSchema:
    """The schema with groups of the last hour, day, week and 20 events in each history.

    Where ages are not known there is the one of the newest events alone.
    """

    def scaled(history: keras_infnet.History) -> keras_infnet.History:
        has_ages = schema.time_key is not None and keras_infnet.Age() in history.quantities
        limits = AGES.items() if has_ages else ()
        groups = history.groups or (keras_infnet.HistoryGroup("all"),)
        groups += tuple(keras_infnet.HistoryGroup(name, within=age) for name, age in limits)
        newest = keras_infnet.HistoryGroup("newest", last=min(NEWEST, history.max_length))
        return replace(history, groups=(*groups, newest))

    return replace(schema, histories=tuple(scaled(history) for history in schema.histories))


def open_log(log: str, path: Path, tasks: Any, history: str = "exposures") -> Any:
    """The data set of a log; the kind of history is KuaiRand's alone."""
    given = {"history": history} if log.startswith("kuairand") else {}
    return LOGS[log].read(path, tasks=tasks, **given)


def train_batches(data: keras_infnet.RankingData, batch_size: int, seed: int) -> Any:
    """Training batches in an order of the seed's.

    The last, smaller batch is left out: XLA would compile the training step once more for it.
    """
    whole = data.rows["train"] >= batch_size
    given = {"batch_size": batch_size, "seed": seed, "drop_remainder": whole}
    return data.batches("train", shuffle=True, **given)


def split_rows(data: Any, frame: pd.DataFrame) -> Any:
    """The log's split; a part without rows is an error."""
    split = data.split(frame)
    for part in ("train", *SPLITS):
        if getattr(split, part).empty:
            raise ValueError(f"The log has no {part} rows; expected rows in each part.")
    return split


def fingerprint(data: Any) -> str:
    """Twelve hexadecimal digits from names, sizes, first and last bytes of a data set's files."""
    digest = hashlib.sha256()
    for file in files_of(data):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_EDGE_BYTES))
            content.seek(max(0, size - _EDGE_BYTES))
            digest.update(content.read(_EDGE_BYTES))
    return digest.hexdigest()[:12]


def simulated_log(out: Path, rows: int, same_tasks: bool) -> Path:
    """Folder of the simulated log, which is written once."""
    path = out / f"log-{rows}{'-same-tasks' if same_tasks else ''}"
    if not path.exists():
        print(f"Simulating {rows:,} rows ...", flush=True)
        keras_infnet.datasets.simulate(path, rows, same_tasks=same_tasks)
    return path
