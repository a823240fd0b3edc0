"""The log of a search as datasets."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_infnet


@dataclass(frozen=True)
class SearchData:
    """Batches, and what a report says of them; `users` has a key for each validation row."""

    schema: keras_infnet.FeatureSchema
    train: Any
    validation: Any
    users: Any
    description: str
    histories: str


def simulated_log(folder: Path, rows: int, print_it: bool) -> Path:
    """A simulated log beside the folder of the search; it is made once."""
    path = folder.with_name(f"{folder.name}-log")
    if not path.exists():
        if print_it:
            print(f"Simulating {rows:,} rows in {path}", flush=True)
        # Chief and workers of one search may all be here: the first to end gives the log its name.
        unfinished = path.with_name(f".{path.name}.unfinished-{os.getpid()}")
        # Few users and videos, so that so few rows teach something of each.
        sizes = {"users": max(20, rows // 50), "items": max(50, rows // 20)}
        keras_infnet.datasets.simulate(unfinished, rows, **sizes, seed=0)
        try:
            unfinished.rename(path)
        except OSError:
            if not path.exists():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return path


def read_data(path: Path, batch_size: int, freeze: bool) -> SearchData:
    """Datasets of a log in KuaiRand's layout; `freeze`: histories end where validation begins."""
    data = keras_infnet.datasets.KuaiRand(path)
    frame, warm = data.frame(), data.warm()
    past = {} if warm is None else {"exposures": warm}
    split = data.split(frame)
    encoder = keras_infnet.data.FeatureEncoder(data.schema()).fit(split.train, past)
    histories = keras_infnet.data.Histories(encoder, frame, past)
    train = keras_infnet.data.make_dataset(
        encoder, split.train, histories, batch_size=batch_size, shuffle=True
    )
    validation = keras_infnet.data.make_dataset(
        encoder,
        split.validation,
        histories,
        batch_size=2048,
        freeze_at=split.validation_start if freeze else None,
    )
    return SearchData(
        encoder.schema,
        train,
        validation,
        split.validation[encoder.schema.user_key],
        f"{path.name}: {len(split.train):,} training and {len(split.validation):,} validation rows",
        "frozen at their start" if freeze else "rolling on",
    )
