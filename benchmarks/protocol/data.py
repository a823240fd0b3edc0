"""The rows that all runs share: a log, its split, its fingerprint, the simulated ones."""

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

import keras_infnet

# A number is the most events that a history keeps; without one it is the schema's.
HISTORIES = ("exposures", "positives", "exposures-25", "exposures-50", "exposures-200")
SPLITS = ("validation", "test")
ROW_KEY = ("user_id", "time_ms", "video_id", "date")
_EDGE_BYTES = 1 << 20


# Together, and each of three tasks alone.
@lru_cache(maxsize=4)
def load_data(path: Path, tasks: tuple[str, ...], histories: str) -> keras_infnet.RankingData:
    """Reads and encodes a log in KuaiRand's layout."""
    history, _, length = histories.partition("-")
    data = keras_infnet.datasets.KuaiRand(path, tasks=tasks, history=history)
    frame, warm = data.frame(), data.warm()
    schema = data.schema()
    if length:
        cut = tuple(replace(s, max_length=int(length)) for s in schema.histories)
        schema = replace(schema, histories=cut)
    split = split_rows(data, frame)
    return keras_infnet.RankingData(
        schema, frame, validation=split.validation, test=split.test, warm=warm
    )


def train_batches(data: keras_infnet.RankingData, batch_size: int, seed: int) -> Any:
    """Training batches in an order of the seed's.

    The last, smaller batch is left out: XLA would compile the training step once more for it.
    """
    whole = data.rows["train"] >= batch_size
    given = {"batch_size": batch_size, "seed": seed, "drop_remainder": whole}
    return data.batches("train", shuffle=True, **given)


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
