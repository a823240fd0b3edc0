"""Frames + encoder -> `tf.data.Dataset` for fit, evaluate and predict, on every backend."""

import itertools
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.checks import bad
from keras_infnet.data.histories import NO_TIME, Histories
from keras_infnet.data.shard_layout import MANIFEST
from keras_infnet.data.windows import gather_windows
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import has_list_columns
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.canonical import require_rows
from keras_infnet.schema.schema import FeatureSchema

Rows = pd.DataFrame | str | Path | Sequence[str | Path]


def make_dataset(
    encoder: FeatureEncoder,
    rows: Rows,
    histories: Histories | None = None,
    *,
    batch_size: int = 512,
    shuffle: bool = False,
    seed: int = 0,
    freeze_at: int | str | None = None,
    labels: bool = True,
    drop_remainder: bool = False,
) -> Any:
    """Batches for `model.fit`, `evaluate` and `predict`.

    The rows are encoded once; histories stay pointers, and a batch's windows are gathered when it
    is due, in tf.data's own threads.

    Args:
        encoder: A fitted encoder.
        rows: A frame, or Parquet shards: a file, a folder, or a list of files.
        histories: Past events. Left out where the rows hold their histories as list columns, or
            the schema has none; where rows hold some of them, only the others are taken from here.
        batch_size: Rows a batch.
        shuffle: Whether rows come in another order in each epoch. Rows of the whole frame mix.
        seed: Seed of the order; the same seed gives the same epochs.
        freeze_at: Unix milliseconds from which on no event enters a history; see
            `Histories.windows`.
        labels: Whether batches are `(x, y, sample_weight)`, with dicts by task of `(batch, 1)`
            float32, or `x` alone.
        drop_remainder: Whether a last, smaller batch is left out.

    Returns:
        A `tf.data.Dataset` that knows its number of batches. `x` is a dict as in
        `schema.packed_inputs()`. A label that is not observed has weight 0.

    Raises:
        ValueError: No rows, a missing column or bad value, histories lacking, or of another
            encoder.
    """
    import tensorflow as tf

    frame = read_rows(rows)
    require_rows(frame, "make_dataset")
    whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    if not whole or batch_size < 1:
        raise bad("make_dataset", "batch_size", batch_size, "1 or more rows")
    check_histories("make_dataset", encoder, frame, histories, freeze_at)
    arrays: dict[str, Any] = {"x": encoder.transform(frame)}
    if labels:
        y, weights = read_labels(encoder.schema, frame)
        arrays["y"] = {name: values[:, None] for name, values in y.items()}
        arrays["weight"] = {name: values[:, None] for name, values in weights.items()}
    gathers = {}
    for sequence in encoder.schema.histories:
        if not has_list_columns(sequence, frame):
            starts, ends, times = histories.windows(sequence.name, frame, freeze_at)
            arrays[f"window/{sequence.name}"] = np.stack([starts, ends, times], axis=1)
            gathers[sequence.name] = _window_gather(encoder.schema, sequence.name, histories)
    tensors = tf.nest.map_structure(tf.constant, arrays)

    def assemble(index: Any) -> Any:
        batch = tf.nest.map_structure(lambda t: tf.gather(t, index), tensors)
        x = dict(batch["x"])
        for name, gather in gathers.items():
            x |= gather(batch[f"window/{name}"])
        return (x, batch["y"], batch["weight"]) if labels else x

    def assembled(order: Any) -> Any:
        return order.map(assemble, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    options = {"batch_size": batch_size, "drop_remainder": drop_remainder}
    batches = len(frame) // batch_size if drop_remainder else -(-len(frame) // batch_size)
    order = _order(len(frame), shuffle, seed).batch(**options)
    data = assembled(order.apply(tf.data.experimental.assert_cardinality(batches)))

    def starting_at(batch: int) -> Any:
        epoch, first = divmod(batch, batches)
        return assembled(_endless_order(len(frame), shuffle, seed, epoch, options).skip(first))

    # What `Checkpoints` goes on with: batches from a later one on, without end.
    data.starting_at = starting_at
    return data


def read_rows(rows: Rows) -> pd.DataFrame:
    """The frame itself, or the rows of Parquet shards (a file, a folder, or a list of files)."""
    if isinstance(rows, pd.DataFrame):
        return rows
    paths = [rows] if isinstance(rows, (str, Path)) else rows
    if not isinstance(paths, (list, tuple)) or not all(isinstance(p, (str, Path)) for p in paths):
        raise ValueError(
            f"make_dataset: the rows are a {type(rows).__name__}; expected a pandas DataFrame, or "
            "one or more paths of Parquet files."
        )
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing or not paths:
        raise ValueError(f"make_dataset: no Parquet file or folder {missing or 'was given'}.")
    if any((Path(path) / MANIFEST).exists() for path in paths):
        raise ValueError(
            f"make_dataset: {paths[0]} was written by `prepare`; use `stream_dataset` to read it."
        )
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def check_histories(
    who: str,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    histories: Histories | None,
    freeze_at: int | str | None,
) -> list[str]:
    """Names of the histories that the rows lack as list columns; an error if nothing gives them."""
    encoder.schema.require_fitted()
    if not isinstance(histories, Histories | None):
        raise ValueError(
            f"{who}: `histories` is a {type(histories).__name__}; expected Histories(encoder, log)."
        )
    lacking = [s.name for s in encoder.schema.histories if not has_list_columns(s, frame)]
    listed = [s.name for s in encoder.schema.histories if s.name not in lacking]
    if freeze_at is not None and listed:
        raise ValueError(
            f"{who}: `freeze_at` can't cut the histories {', '.join(listed)}, which the "
            "rows hold as list columns. Use `Histories.attach(frame, freeze_at)`, or drop them."
        )
    if lacking and histories is None:
        raise ValueError(
            f"{who}: the schema has histories ({', '.join(lacking)}), the rows hold none as list "
            "columns, and `histories` is None. Pass `Histories(encoder, log)`."
        )
    if listed and histories is not None and not lacking:
        raise ValueError(
            f"{who}: the rows hold the histories {', '.join(listed)} as list columns, and "
            "`histories` gives them too. Leave one of them out."
        )
    if histories is not None and histories.schema != encoder.schema:
        raise ValueError(
            f"{who}: `histories` were encoded by another encoder (fingerprint "
            f"{histories.schema.fingerprint}; expected {encoder.schema.fingerprint})."
        )
    return lacking


def _order(rows: int, shuffle: bool, seed: int) -> Any:
    import tensorflow as tf

    if not shuffle:
        return tf.data.Dataset.range(rows)
    return _epoch_seeds(seed).flat_map(lambda epoch: _permutation(rows, epoch, seed))


def _endless_order(rows: int, shuffle: bool, seed: int, epoch: int, options: dict[str, Any]) -> Any:
    """The batches of `_order`, from an epoch on; the same in each iteration."""
    import tensorflow as tf

    if not shuffle:
        return tf.data.Dataset.range(rows).batch(**options).repeat()

    def seeds() -> Iterator[Any]:
        one_an_iteration = _epoch_seeds(seed)
        for number in itertools.count():
            (of_epoch,) = one_an_iteration
            if number >= epoch:
                yield of_epoch

    epochs = tf.data.Dataset.from_generator(seeds, output_signature=tf.TensorSpec((), "int64"))
    return epochs.flat_map(lambda epoch: _permutation(rows, epoch, seed).batch(**options))


def _epoch_seeds(seed: int) -> Any:
    """One number, another in each iteration."""
    import tensorflow as tf

    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)


def _permutation(rows: int, epoch_seed: Any, seed: int) -> Any:
    import tensorflow as tf

    order = tf.random.experimental.stateless_shuffle(
        tf.range(rows, dtype="int64"), tf.stack([epoch_seed, tf.constant(seed, "int64")])
    )
    return tf.data.Dataset.from_tensor_slices(order)


def _window_gather(schema: FeatureSchema, name: str, histories: Histories) -> Any:
    """Function from `(batch, [start, end, time])` to the packed history."""
    import tensorflow as tf

    events = histories.events[name]
    # One more row, so that a history without any event can be gathered too.
    columns = tf.constant(np.pad(events.columns, ((0, 1), (0, 0))))
    times = tf.constant(np.append(events.times, NO_TIME))
    return lambda window: gather_windows(schema, name, columns, times, window)
