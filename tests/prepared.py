"""Prepared folders for tests, and what their rows should be by the way through memory."""

import numpy as np
import pandas as pd

from keras_infnet.data import Batches, Histories, prepare
from tests.logs import log_schema, make_log

SPLITS = {"train": 1_650_000_030_000, "validation": 1_650_000_045_000, "test": None}
SMALL = {"partitions": 3, "chunk_rows": 170, "block_rows": 60, "verbose": False}


def large_log(**kwargs):
    return make_log(rows=900, users=40, **kwargs)


def prepared(path, log, schema=None, **kwargs):
    return prepare(schema or log_schema(), log, path, **{"splits": SPLITS, **SMALL, **kwargs})


def train_rows(log):
    return log[log.time_ms < SPLITS["train"]]


def collect(dataset):
    """All batches below one another: x, labels as `label/{task}`, weights as `weight/{task}`."""
    batches = [_flat(batch) for batch in dataset.as_numpy_iterator()]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def _flat(batch):
    if isinstance(batch, dict):
        return batch
    x, labels, weights = batch
    parts = {"label": labels, "weight": weights}
    return x | {f"{kind}/{task}": p[task] for kind, p in parts.items() for task in p}


def row_numbers(path, split):
    """Numbers of a split's rows in the log, in the order of the files."""
    return pd.read_parquet(path / "rows" / split)["row"].to_numpy()


def expected(encoder, log, earlier=None, freeze_at=None):
    """What `Batches.from_rows` gives for the log."""
    histories = Histories(encoder, log, earlier)
    return collect(Batches.from_rows(encoder, log, histories, freeze_at=freeze_at))
