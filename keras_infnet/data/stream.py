"""A prepared folder -> `tf.data.Dataset`, in bounded memory and from any batch on."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet._base.checks import bad
from keras_infnet.data.epoch_order import EpochOrder
from keras_infnet.data.length_buckets import LengthBuckets
from keras_infnet.data.prepared_rows import Arrays, PreparedRows
from keras_infnet.data.windows import gather_windows
from keras_infnet.data.worker_epochs import ORDER, WorkerEpochs
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.schema import FeatureSchema


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
    length_buckets: Sequence[int] | None = None,
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
        length_buckets: Lengths such as `(25, 50)`: rows with histories of about the same length
            come in one batch, which is cut to the smallest length that holds them, or `max_length`.
            Of several histories the longest counts, and each is cut to the length, or its own
            `max_length`. Needs `shuffle`; all models take such batches. Defaults to none.

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
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame(
        ...     {"user_id": 1, "time_ms": [1, 2, 3], "country": "NL", "click": [0, 1, 1]}
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = keras_infnet.data.prepare(schema, log, f"{folder}/log", verbose=False)
        ...     data = keras_infnet.data.stream_dataset(encoder, f"{folder}/log", batch_size=2)
        ...     [y["click"][:, 0].tolist() for x, y, weight in data.as_numpy_iterator()]
        [[0.0, 1.0], [1.0]]
    """
    given = dict(locals())
    import tensorflow as tf

    encoder.schema.require_fitted()
    _check_arguments(batch_size, start_batch, shard, mix_blocks, seed)
    rows = PreparedRows(Path(folder), encoder.schema, split, labels, freeze_at)
    order = EpochOrder(rows.block_rows, mix_blocks, shuffle, seed)
    buckets = None
    if length_buckets is not None:
        buckets = LengthBuckets.of(encoder.schema, length_buckets, shuffle, seed)
    epochs = WorkerEpochs(rows, order, batch_size, drop_remainder, *shard, buckets)
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
    data = data.flat_map(lambda group: _batches(group, encoder.schema, batch_size, labels, buckets))
    left = epochs.batches - start_batch % epochs.batches
    number = tf.data.INFINITE_CARDINALITY if repeat else left
    data = data.apply(tf.data.experimental.assert_cardinality(number)).prefetch(tf.data.AUTOTUNE)
    # What `Checkpoints` goes on with: batches from a later one on, without end.
    data.starting_at = lambda batch: stream_dataset(
        **{**given, "start_batch": start_batch + batch, "repeat": True}
    )
    return data


def _batches(
    group: dict[str, Any],
    schema: FeatureSchema,
    batch_size: int,
    labels: bool,
    buckets: LengthBuckets | None,
) -> Any:
    import tensorflow as tf

    def of_kind(kind: str, index: Any) -> dict[str, Any]:
        return {
            name.removeprefix(f"{kind}/"): tf.gather(tensor, index)
            for name, tensor in group.items()
            if name.startswith(f"{kind}/")
        }

    def assemble(start: Any) -> Any:
        index = group[ORDER][start : start + batch_size]
        x = of_kind("x", index)
        windows = of_kind("window", index)
        cut = None if buckets is None else _bucket_length(windows.values(), buckets.lengths)
        for name, window in windows.items():
            events, times = group[f"events/{name}"], group[f"times/{name}"]
            longest = schema.history(name).max_length
            length = None if cut is None else tf.minimum(cut, longest)
            x |= gather_windows(schema, name, events, times, window, length)
        return (x, of_kind("label", index), of_kind("weight", index)) if labels else x

    starts = tf.data.Dataset.range(0, tf.size(group[ORDER], "int64"), batch_size)
    return starts.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)


def _bucket_length(windows: Iterable[Any], lengths: tuple[int, ...]) -> Any:
    """The smallest length that holds all histories of a batch."""
    import tensorflow as tf

    longest = tf.reduce_max([tf.reduce_max(window[:, 1] - window[:, 0]) for window in windows])
    known = tf.constant(lengths, "int64")
    return known[tf.searchsorted(known, longest[None])[0]]


def _check_arguments(
    batch_size: int, start_batch: int, shard: tuple[int, int], mix_blocks: int, seed: int
) -> None:
    least = {"batch_size": (batch_size, 1), "mix_blocks": (mix_blocks, 1)}
    least |= {"start_batch": (start_batch, 0), "seed": (seed, 0)}
    for name, (value, minimum) in least.items():
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise bad("stream_dataset", name, value, f"{minimum} or more")
    index, count = shard
    if not 0 <= index < count:
        expected = "(index, number of workers) with an index from 0 to the number less one"
        raise bad("stream_dataset", "shard", shard, expected)
