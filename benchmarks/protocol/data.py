"""The rows that all runs share: one log, encoder, histories and split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

import keras_infnet

# A number is the most events that a history keeps; without one it is the schema's.
HISTORIES = ("exposures", "positives", "exposures-25", "exposures-50", "exposures-200")
SPLITS = ("validation", "test")
ROW_KEY = ("user_id", "time_ms", "video_id", "date")
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class RankingData:
    """An encoder that was fitted on the training rows, the histories, and the split."""

    encoder: Any
    histories: Any
    split: Any

    @cached_property
    def validation_batches(self) -> Any:
        """Batches for the evaluations during training."""
        rows = self.split.validation
        return keras_infnet.data.make_dataset(self.encoder, rows, self.histories, batch_size=2048)

    def train_batches(self, batch_size: int, seed: int) -> Any:
        """Training batches in an order of the seed's.

        The last, smaller batch is left out: XLA would compile the training step once more for it.
        """
        return keras_infnet.data.make_dataset(
            self.encoder,
            self.split.train,
            self.histories,
            batch_size=batch_size,
            shuffle=True,
            seed=seed,
            drop_remainder=len(self.split.train) >= batch_size,
        )


# Together, and each of three tasks alone.
@lru_cache(maxsize=4)
def load_data(path: Path, tasks: tuple[str, ...], histories: str) -> RankingData:
    """Reads and encodes a log in KuaiRand's layout."""
    history, _, length = histories.partition("-")
    data = keras_infnet.datasets.KuaiRand(path, tasks=tasks, history=history)
    frame, warm = data.frame(), data.warm()
    schema = data.schema()
    if length:
        cut = tuple(replace(s, max_length=int(length)) for s in schema.histories)
        schema = replace(schema, histories=cut)
    earlier = {} if warm is None else {sequence.name: warm for sequence in schema.histories}
    split = split_rows(data, frame)
    encoder = keras_infnet.data.FeatureEncoder(schema).fit(split.train, earlier)
    return RankingData(encoder, keras_infnet.data.Histories(encoder, frame, earlier), split)


def split_rows(data: Any, frame: pd.DataFrame) -> Any:
    """The split by date; a part without rows is an error."""
    split = data.split(frame)
    for part in ("train", *SPLITS):
        if getattr(split, part).empty:
            raise ValueError(f"The log has no {part} rows; expected days for each part.")
    return split


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits from names, sizes, first and last bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.suffix in (".csv", ".parquet")):
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


def best_possible(data: Any, frame: pd.DataFrame, split: Any, tasks: Sequence[str]) -> Any:
    """AUC by split and task of the best and of the true probabilities; None for a real log."""
    truth = data.truth()
    if truth is None:
        return None
    truth, schema = truth.set_index(frame.index), data.schema()
    found = []
    for part in SPLITS:
        rows = getattr(split, part)
        known = truth.loc[rows.index]
        for task in tasks:
            labels = rows[schema.task(task).label]
            best = keras_infnet.metrics.auc(labels, known[f"{task}_best"])
            true = keras_infnet.metrics.auc(labels, known[f"{task}_true"])
            found.append({"task": task, "split": part, "best_auc": best, "true_auc": true})
    return pd.DataFrame(found)
