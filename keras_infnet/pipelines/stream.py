"""A prepared folder -> `tf.data.Dataset`, in bounded memory and from any batch on."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet.features.encoder import FeatureEncoder
from keras_infnet.features.schema import FeatureSchema
from keras_infnet.pipelines.block_group import join_blocks, take_rows
from keras_infnet.pipelines.epoch_order import EpochOrder
from keras_infnet.pipelines.histories import NO_TIME
from keras_infnet.pipelines.prepared_rows import Arrays, PreparedRows
from keras_infnet.pipelines.windows import gather_windows

_ORDER = "order"


def stream_dataset(
    encoder: FeatureEncoder,
    folder: str | Path,
    split: str = "train",
    *,
    batch_size: int = 512,
    shuffle: bool = False,
    seed: int = 0,
    freeze_at: int | str | None = None,
    labels: bool = True,
    drop_remainder: bool = False,
    start_batch: int = 0,
    repeat: bool = False,
    shard: tuple[int, int] = (0, 1),
    mix_blocks: int = 16,
) -> Any:
    """Batches of a folder that `prepare` wrote, for `model.fit`, `evaluate` and `predict`.

    `mix_blocks` blocks at a time are read in parallel, while the batches of those before them are
    used. Memory is that of three times so many blocks, whatever the size of the folder.

    Args:
        encoder: The encoder that `prepare` returned, or `FeatureEncoder.load(folder / "encoder")`.
        folder: What `prepare` wrote.
        split: Name of the split.
        batch_size: Rows a batch.
        shuffle: Whether each epoch has another order: blocks of all shards come in random order,
            and the rows of `mix_blocks` of them mix. If not, rows come as in the files.
        seed: Seed of the order; the same seed gives the same epochs.
        freeze_at: Unix milliseconds from which on no event enters a history, or `"first_row"`; see
            `Histories.windows`. Rows of other splits do not count as a user's first.
        labels: Whether batches are `(x, y, sample_weight)` as in `make_dataset`, or `x` alone.
        drop_remainder: Whether a last, smaller batch of an epoch is left out.
        start_batch: Number of the first batch, counted over all epochs: with `n` batches an epoch,
            `2 * n + 5` is the sixth batch of the third. What lies before is not read.
        repeat: Whether epochs follow one another without end. Each iteration then starts at
            `start_batch`, so that training goes on exactly where it stopped.
        shard: This worker's index, and the number of workers. Each has the same number of batches;
            up to one row fewer than there are workers is left out of an epoch.
        mix_blocks: Blocks that are read and mixed together.

    Returns:
        A `tf.data.Dataset` that knows its number of batches, infinite with `repeat`. Without it,
        each iteration is the next epoch; but where `start_batch` lies within an epoch, it is the
        rest of that one.

    Raises:
        ValueError: There is no such folder or split, it is of another encoder, a file is missing,
            damaged, or has other columns or types, an id is beyond its table, or an argument is out
            of range.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("country", "user")],
        ...     tasks=[keras_infnet.Task("click")],
        ... )
        >>> log = pd.DataFrame(
        ...     {"user_id": 1, "time_ms": [1, 2, 3], "country": "NL", "click": [0, 1, 1]}
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = keras_infnet.prepare(schema, log, f"{folder}/log", verbose=False)
        ...     data = keras_infnet.stream_dataset(encoder, f"{folder}/log", batch_size=2)
        ...     [y["click"][:, 0].tolist() for x, y, weight in data.as_numpy_iterator()]
        [[0.0, 1.0], [1.0]]
    """
    import tensorflow as tf

    encoder.schema.require_fitted()
    _check_arguments(batch_size, start_batch, shard, mix_blocks, seed)
    rows = PreparedRows(Path(folder), encoder.schema, split, labels, freeze_at)
    order = EpochOrder(rows.block_rows, mix_blocks, shuffle, seed)
    epochs = _Epochs(rows, order, batch_size, drop_remainder, *shard)
    if not epochs.batches:
        raise ValueError(
            f"stream_dataset: split `{split}` has {int(rows.block_rows.sum())} rows; no batch of "
            f"{batch_size} for each of {shard[1]} workers."
        )
    numbers = itertools.count()

    def groups() -> Iterator[Arrays]:
        if repeat:
            yield from epochs.forever(start_batch)
        elif start_batch % epochs.batches:
            yield from epochs.rest(start_batch)
        else:
            yield from epochs.rest(start_batch + next(numbers) * epochs.batches)

    first = epochs.first_block()
    signature = {
        name: tf.TensorSpec((None, *array.shape[1:]), array.dtype) for name, array in first.items()
    }
    data = tf.data.Dataset.from_generator(groups, output_signature=signature).prefetch(1)
    data = data.flat_map(lambda group: _batches(group, encoder.schema, batch_size, labels))
    left = epochs.batches - start_batch % epochs.batches
    number = tf.data.INFINITE_CARDINALITY if repeat else left
    data = data.apply(tf.data.experimental.assert_cardinality(number))
    return data.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class _Epochs:
    """One worker's part of every epoch, as groups of rows of whole batches."""

    rows: PreparedRows
    order: EpochOrder
    batch_size: int
    drop_remainder: bool
    worker: int
    workers: int

    @property
    def own_rows(self) -> int:
        return int(self.rows.block_rows.sum()) // self.workers

    @property
    def batches(self) -> int:
        full, more = divmod(self.own_rows, self.batch_size)
        return full + (more > 0 and not self.drop_remainder)

    def forever(self, start_batch: int) -> Iterator[Arrays]:
        yield from self.rest(start_batch)
        for epoch in itertools.count(start_batch // self.batches + 1):
            yield from self.rest(epoch * self.batches)

    def rest(self, start_batch: int) -> Iterator[Arrays]:
        """Groups of an epoch from a batch on: arrays, and in which order their rows come."""
        epoch, batch = divmod(start_batch, self.batches)
        first = self.worker * self.own_rows
        pieces = self.order.pieces(epoch, first + batch * self.batch_size, first + self.own_rows)
        over: list[Arrays] = []
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for blocks, order in pieces:
                more = len(over[0][_ORDER]) if over else 0
                arrays = join_blocks([*over, *pool.map(self._read, blocks)])
                order = np.concatenate([np.arange(more), more + order])
                whole = len(order) // self.batch_size * self.batch_size
                if whole:
                    yield _ready(arrays, order[:whole])
                over = [take_rows(arrays, order[whole:])] if whole < len(order) else []
        if over and not self.drop_remainder:
            yield _ready(over[0], np.arange(len(over[0][_ORDER])))

    def first_block(self) -> Arrays:
        return _ready(self._read(0), np.zeros(0, "int64"))

    def _read(self, block: int) -> Arrays:
        arrays = self.rows.read(block)
        return {**arrays, _ORDER: np.zeros(self.rows.block_rows[block], "int64")}


def _ready(arrays: Arrays, order: np.ndarray) -> Arrays:
    """Rows in an order; one more event, so that histories without any can be gathered too."""
    ready = {**arrays, _ORDER: order}
    for name, array in arrays.items():
        if name.startswith("events/"):
            ready[name] = np.pad(array, ((0, 1), (0, 0)))
        elif name.startswith("times/"):
            ready[name] = np.append(array, NO_TIME)
    return ready


def _batches(group: dict[str, Any], schema: FeatureSchema, batch_size: int, labels: bool) -> Any:
    import tensorflow as tf

    def of_kind(kind: str, index: Any) -> dict[str, Any]:
        return {
            name.removeprefix(f"{kind}/"): tf.gather(tensor, index)
            for name, tensor in group.items()
            if name.startswith(f"{kind}/")
        }

    def assemble(start: Any) -> Any:
        index = group[_ORDER][start : start + batch_size]
        x = of_kind("x", index)
        for name, window in of_kind("window", index).items():
            events, times = group[f"events/{name}"], group[f"times/{name}"]
            x |= gather_windows(schema, name, events, times, window)
        return (x, of_kind("label", index), of_kind("weight", index)) if labels else x

    starts = tf.data.Dataset.range(0, tf.size(group[_ORDER], "int64"), batch_size)
    return starts.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)


def _check_arguments(
    batch_size: int, start_batch: int, shard: tuple[int, int], mix_blocks: int, seed: int
) -> None:
    least = {"batch_size": (batch_size, 1), "mix_blocks": (mix_blocks, 1)}
    least |= {"start_batch": (start_batch, 0), "seed": (seed, 0)}
    for name, (value, minimum) in least.items():
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"stream_dataset: {name} is {value!r}; expected {minimum} or more.")
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(
            f"stream_dataset: shard is {shard}; expected (index, number of workers) with an index "
            "from 0 to the number less one."
        )
