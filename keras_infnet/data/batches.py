"""Batches for Keras's fit, evaluate and predict, from a frame or a prepared folder."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from keras_infnet._backend.batch_dataset import dataset_class
from keras_infnet.data.epochs import ORDER, EpochOrder, LengthBuckets, WorkerEpochs
from keras_infnet.data.histories import NO_TIME, Histories, check_histories, gather_windows
from keras_infnet.data.prepared_rows import Arrays, PreparedRows
from keras_infnet.data.row_source import Frame, as_frame
from keras_infnet.data.shards import MANIFEST
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import has_list_columns
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.canonical import require_rows
from keras_infnet.schema.schema import FeatureSchema

Rows = Frame | str | Path | Sequence[str | Path]

_FRAME, _FOLDER = "Batches.from_rows", "Batches.from_folder"


class Batches:
    """A `tf.data.Dataset` of batches that knows their number and can begin at any of them.

    `from_rows` and `from_folder` make one; Keras takes it on every backend. A batch is
    `(x, y, sample_weight)`: `x` a dict as in `schema.packed_inputs()`, the others dicts by task of
    `(batch, 1)` float32, weight 0 where a label is not observed; or `x` alone.

    Everything that a dataset can do it can do; `map`, `take`, `skip` and `prefetch` give `Batches`
    again, all else a plain dataset.

    Example:
        >>> import pandas as pd
        >>> schema = keras_infnet.FeatureSchema(
        ...     features=[keras_infnet.CategoricalFeature("country", "user")],
        ...     tasks=[keras_infnet.BinaryTask("click")],
        ... )
        >>> log = pd.DataFrame({"country": ["NL", "NL", "PT"], "click": [0, 1, 1]})
        >>> encoder = keras_infnet.data.FeatureEncoder(schema).fit(log)
        >>> batches = keras_infnet.data.Batches.from_rows(encoder, log, batch_size=2)
        >>> len(batches)
        2
        >>> x, y, weight = next(batches.take(1).starting_at(7).as_numpy_iterator())
        >>> y["click"].tolist()
        [[0.0], [1.0]]
    """

    _later: Callable[[int], Any]
    _epoch: int | None

    def __init__(self) -> None:
        raise TypeError("Batches: make them by `Batches.from_rows` or `Batches.from_folder`.")

    @classmethod
    def from_rows(
        cls,
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
        length_buckets: Sequence[int] | None = None,
    ) -> "Batches":
        """Batches of rows that fit in memory.

        The rows are encoded once; histories stay pointers, and a batch's windows are gathered when
        it is due, in tf.data's own threads.

        Args:
            encoder: A fitted encoder.
            rows: A frame (pandas, Polars or Arrow), or Parquet shards: a file, a folder, or a list
                of files.
            histories: Past events. Left out where the rows hold their histories as list columns, or
                the schema has none; where rows hold some of them, only the others are taken from
                here.
            batch_size: Rows a batch.
            shuffle: Whether rows come in another order in each epoch. Rows of the whole frame mix.
            seed: Seed of the order; the same seed gives the same epochs.
            freeze_at: Unix milliseconds from which on no event enters a history; see
                `Histories.windows`.
            labels: Whether batches have labels and weights, or are `x` alone.
            drop_remainder: Whether a last, smaller batch is left out.
            length_buckets: As in `from_folder`.

        Returns:
            Batches that know their number.

        Raises:
            ValueError: No rows, a missing column or bad value, histories lacking, or of another
                encoder, or an argument is out of range.
        """
        frame = _read_rows(rows)
        encoded = EncodedRows(encoder, frame, histories, _FRAME)
        order = RowOrder(len(frame), batch_size, shuffle, seed, drop_remainder)
        return encoded.batches(order, length_buckets, freeze_at, labels)

    @classmethod
    def from_folder(
        cls,
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
    ) -> "Batches":
        """Batches of a folder that `prepare` wrote, in bounded memory.

        `mix_blocks` blocks at a time are read in parallel, while the batches of those before them
        are used. Memory is that of three times so many blocks, whatever the size of the folder.

        Args:
            encoder: The encoder that `prepare` returned, or
                `FeatureEncoder.load(folder / "encoder")`.
            folder: What `prepare` wrote.
            split: Name of the split.
            batch_size: Rows a batch.
            shuffle: Whether each epoch has another order: blocks of all shards come in random
                order, and the rows of `mix_blocks` of them mix. If not, rows come as in the files.
            seed: Seed of the order; the same seed gives the same epochs.
            freeze_at: Unix milliseconds from which on no event enters a history, or `"first_row"`;
                see `Histories.windows`. Rows of other splits do not count as a user's first.
            labels: Whether batches have labels and weights, or are `x` alone.
            drop_remainder: Whether a last, smaller batch of an epoch is left out.
            start_batch: Number of the first batch, counted over all epochs: with `n` batches an
                epoch, `2 * n + 5` is the sixth batch of the third. What lies before is not read.
            repeat: Whether epochs follow one another without end. Each iteration then starts at
                `start_batch`, so that training goes on exactly where it stopped.
            shard: This worker's index, and the number of workers. Each has the same number of
                batches; up to one row fewer than there are workers is left out of an epoch.
            mix_blocks: Blocks that are read and mixed together.
            length_buckets: Lengths such as `(25, 50)`: rows with histories of about the same length
                come in one batch, which is cut to the smallest length that holds them, or
                `max_length`. Of several histories the longest counts, and each is cut to the
                length, or its own `max_length`. Needs `shuffle`; all models take such batches.
                Defaults to none.

        Returns:
            Batches that know their number, infinite with `repeat`. Without it, each iteration is
            the next epoch; but where `start_batch` lies within an epoch, it is the rest of that
            one.

        Raises:
            ValueError: There is no such folder or split, it is of another encoder, a file is
                missing, damaged, or has other columns or types, an id is beyond its table, or an
                argument is out of range.

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
            ...     batches = keras_infnet.data.Batches.from_folder(
            ...         encoder, f"{folder}/log", batch_size=2
            ...     )
            ...     [y["click"][:, 0].tolist() for x, y, weight in batches.as_numpy_iterator()]
            [[0.0, 1.0], [1.0]]
        """
        import tensorflow as tf

        encoder.schema.require_fitted()
        _check_arguments(batch_size, start_batch, shard, mix_blocks, seed)
        rows = PreparedRows(Path(folder), encoder.schema, split, labels, freeze_at)
        order = EpochOrder(rows.block_rows, mix_blocks, shuffle, seed)
        buckets = None
        if length_buckets is not None:
            pointers = rows.histories
            buckets = LengthBuckets.of(
                encoder.schema, length_buckets, pointers, shuffle, seed, _FOLDER
            )
        epochs = WorkerEpochs(rows, order, batch_size, drop_remainder, *shard, buckets)
        if not epochs.batches:
            raise ValueError(
                f"{_FOLDER}: split `{split}` has {int(rows.block_rows.sum())} rows; no batch of "
                f"{batch_size} for each of {shard[1]} workers."
            )

        def starting_at(start: int, repeat: bool) -> Any:
            groups = _group_dataset(epochs, start, repeat)
            data = groups.flat_map(lambda group: _of_group(group, encoder.schema, epochs, labels))
            left = epochs.batches - start % epochs.batches
            number = tf.data.INFINITE_CARDINALITY if repeat else left
            asserted = data.apply(tf.data.experimental.assert_cardinality(number))
            return asserted.prefetch(tf.data.AUTOTUNE)

        return _batches(
            starting_at(start_batch, repeat),
            lambda batch: starting_at(start_batch + batch, True),
            None if repeat or start_batch % epochs.batches else epochs.batches,
        )

    def starting_at(self, batch: int) -> Any:
        """A dataset without end, from a batch on: how training goes on where it stopped.

        Args:
            batch: Number of the first batch, counted over all epochs, as `fit` would see them.

        Returns:
            A `tf.data.Dataset` that begins there in each iteration.
        """
        return self._later(batch)

    def map(self, *args: Any, **kwargs: Any) -> "Batches":
        """As in `tf.data.Dataset`."""
        own = cast(Any, super()).map(*args, **kwargs)
        return self._each(lambda dataset: dataset.map(*args, **kwargs), own)

    def prefetch(self, buffer_size: int, **kwargs: Any) -> "Batches":
        """As in `tf.data.Dataset`."""
        own = cast(Any, super()).prefetch(buffer_size, **kwargs)
        return self._each(lambda dataset: dataset.prefetch(buffer_size, **kwargs), own)

    def take(self, count: int, **kwargs: Any) -> Any:
        """As in `tf.data.Dataset`: of each epoch the first batches."""
        own, whole = cast(Any, super()).take(count, **kwargs), self._epoch
        if whole is None:
            return own
        return self._part(own, 0, whole if count < 0 else min(count, whole), whole)

    def skip(self, count: int, **kwargs: Any) -> Any:
        """As in `tf.data.Dataset`: of each epoch all batches but the first."""
        own, whole = cast(Any, super()).skip(count, **kwargs), self._epoch
        if whole is None:
            return own
        return self._part(own, whole if count < 0 else count, whole, whole)

    def _each(self, change: Callable[[Any], Any], own: Any) -> "Batches":
        return _batches(own, lambda batch: change(self._later(batch)), self._epoch)

    def _part(self, own: Any, first: int, end: int, whole: int) -> Any:
        """Batches `first .. end - 1` of each epoch; those between are read and thrown away."""
        if first >= end:
            return own
        later = self._later

        def starting_at(batch: int) -> Any:
            epoch, place = divmod(batch, end - first)
            start = epoch * whole + first + place
            numbered = later(start).enumerate(start)
            wanted = numbered.filter(
                lambda number, _: (number % whole >= first) & (number % whole < end)
            )
            return wanted.map(lambda _, elements: elements)

        return _batches(own, starting_at, end - first)


@dataclass(frozen=True)
class RowOrder:
    """The order in which rows in memory come, epoch by epoch, as batches of their numbers.

    Args:
        rows: Number of rows.
        batch_size: Rows of a batch.
        shuffle: Whether each epoch has another order.
        seed: Seed of all epochs.
        drop_remainder: Whether a last, smaller batch is left out.
        buckets: Bucket of each row, whose batches are rows of one bucket. Defaults to none.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    rows: int
    batch_size: int
    shuffle: bool
    seed: int
    drop_remainder: bool = False
    buckets: np.ndarray | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.batch_size, Integral) and not isinstance(self.batch_size, bool)
        if not whole or self.batch_size < 1:
            raise ValueError(
                f"{_FRAME}: batch_size is {self.batch_size!r}; expected 1 or more rows."
            )

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        full, more = divmod(self.rows, self.batch_size)
        return full + (more > 0 and not self.drop_remainder)

    def epochs(self) -> Any:
        """The batches of an epoch, another in each iteration."""
        import tensorflow as tf

        if not self.shuffle:
            return self._cut(tf.data.Dataset.range(self.rows))
        return self._cut(self._seeds().flat_map(self._permutation))

    def starting_at(self, batch: int) -> Any:
        """The batches of `epochs` from one on, without end; the same in each iteration."""
        import tensorflow as tf

        epoch, first = divmod(batch, self.batches)
        if not self.shuffle:
            return self._cut(tf.data.Dataset.range(self.rows)).repeat().skip(first)

        def seeds() -> Iterator[Any]:
            one_an_iteration = self._seeds()
            for number in itertools.count():
                (of_epoch,) = one_an_iteration
                if number >= epoch:
                    yield of_epoch

        epochs = tf.data.Dataset.from_generator(seeds, output_signature=tf.TensorSpec((), "int64"))
        return epochs.flat_map(lambda seed: self._cut(self._permutation(seed))).skip(first)

    def _cut(self, numbers: Any) -> Any:
        return numbers.batch(self.batch_size, drop_remainder=self.drop_remainder)

    def _seeds(self) -> Any:
        """One number, another in each iteration."""
        import tensorflow as tf

        return tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)

    def _permutation(self, epoch_seed: Any) -> Any:
        import tensorflow as tf

        shuffled = tf.random.experimental.stateless_shuffle
        seed = tf.stack([epoch_seed, tf.constant(self.seed, "int64")])
        order = shuffled(tf.range(self.rows, dtype="int64"), seed)
        if self.buckets is not None:
            whole = self.rows // self.batch_size * self.batch_size
            of_row = tf.gather(tf.constant(self.buckets), order[:whole])
            by_bucket = tf.gather(order, tf.argsort(of_row, stable=True))
            batches = shuffled(tf.reshape(by_bucket, (-1, self.batch_size)), seed + 1)
            order = tf.concat([tf.reshape(batches, (-1,)), order[whole:]], axis=0)
        return tf.data.Dataset.from_tensor_slices(order)


class EncodedRows:
    """Rows of a frame, encoded once, that batches are cut from in any order.

    Args:
        encoder: A fitted encoder.
        frame: The rows.
        histories: Past events, as in `Batches.from_rows`.
        who: Who asks, for error messages.

    Attributes:
        rows: Number of rows.

    Raises:
        ValueError: There is no row. In `batches`: as `Batches.from_rows`.
    """

    def __init__(
        self, encoder: FeatureEncoder, frame: pd.DataFrame, histories: Histories | None, who: str
    ) -> None:
        require_rows(frame, who)
        self._encoder, self._schema, self._who = encoder, encoder.schema, who
        self._frame, self.rows = frame, len(frame)
        # `check_histories` says when they lack.
        self._histories: Any = histories
        self._parts: dict[str, dict[str, Any]] = {}
        self._windows: dict[int | str | None, dict[str, np.ndarray]] = {}

    def batches(
        self,
        order: RowOrder,
        length_buckets: Sequence[int] | None = None,
        freeze_at: int | str | None = None,
        labels: bool = True,
    ) -> Batches:
        """Batches in an order, as in `Batches.from_rows`."""
        import tensorflow as tf

        check_histories(self._who, self._encoder, self._frame, self._histories, freeze_at)
        parts, cut = self._encoded(labels), None
        windows = self._windows_of(freeze_at)
        if length_buckets is not None:
            buckets = LengthBuckets.of(
                self._schema, length_buckets, [*windows], order.shuffle, order.seed, self._who
            )
            order = replace(order, buckets=buckets.numbers(windows))
            cut = buckets.lengths
        parts["window"] = _on_cpu(windows)
        events = {name: _events(self._histories, name) for name in windows}

        def assemble(index: Any) -> Any:
            batch = tf.nest.map_structure(lambda t: tf.gather(t, index), parts)
            x = batch["x"] | _gathered(self._schema, batch["window"], events, cut)
            return (x, batch["y"], batch["weight"]) if labels else x

        def assembled(numbers: Any) -> Any:
            mapped = numbers.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)
            return mapped.prefetch(tf.data.AUTOTUNE)

        known = tf.data.experimental.assert_cardinality(order.batches)
        return _batches(
            assembled(order.epochs().apply(known)),
            lambda batch: assembled(order.starting_at(batch)),
            order.batches,
        )

    def _encoded(self, labels: bool) -> dict[str, Any]:
        """Inputs, and with labels these and their weights, encoded once."""
        if "x" not in self._parts:
            self._parts["x"] = _on_cpu(self._encoder.transform(self._frame))
        if labels and "y" not in self._parts:
            for kind, found in zip(
                ("y", "weight"), read_labels(self._schema, self._frame), strict=True
            ):
                columns = {name: values[:, None] for name, values in found.items()}
                self._parts[kind] = _on_cpu(columns)
        return {kind: self._parts[kind] for kind in ("x", *(("y", "weight") if labels else ()))}

    def _windows_of(self, freeze_at: int | str | None) -> dict[str, np.ndarray]:
        if freeze_at not in self._windows:
            self._windows[freeze_at] = {
                s.name: np.stack(self._histories.windows(s.name, self._frame, freeze_at), axis=1)
                for s in self._schema.histories
                if not has_list_columns(s, self._frame)
            }
        return self._windows[freeze_at]


def _batches(dataset: Any, later: Callable[[int], Any], epoch: int | None) -> Any:
    """The dataset as `Batches`, with `starting_at` and the number of batches an epoch."""
    batches = dataset_class(Batches)(dataset)
    batches._later, batches._epoch = later, epoch
    return batches


def _read_rows(rows: Rows) -> pd.DataFrame:
    """The frame itself, or the rows of Parquet shards (a file, a folder, or a list of files)."""
    if not isinstance(rows, (str, Path, list, tuple)):
        return as_frame(rows, _FRAME, "one or more paths of Parquet files")
    paths = [rows] if isinstance(rows, (str, Path)) else rows
    if not all(isinstance(path, (str, Path)) for path in paths):
        raise ValueError(
            f"{_FRAME}: the rows are a {type(rows).__name__} of other things than paths; expected "
            "a frame, or one or more paths of Parquet files."
        )
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing or not paths:
        raise ValueError(f"{_FRAME}: no Parquet file or folder {missing or 'was given'}.")
    if any((Path(path) / MANIFEST).exists() for path in paths):
        raise ValueError(
            f"{_FRAME}: {paths[0]} was written by `prepare`; use `Batches.from_folder` to read it."
        )
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def _on_cpu(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tensors that tf.data reads where it runs."""
    import tensorflow as tf

    with tf.device("CPU"):
        return {name: tf.constant(array) for name, array in arrays.items()}


def _events(histories: Histories, name: str) -> tuple[Any, Any]:
    """Columns and times of a history's events, and one more: a history may have none."""
    events = histories.events[name]
    columns = np.pad(events.columns, ((0, 1), (0, 0)))
    found = _on_cpu({"columns": columns, "times": np.append(events.times, NO_TIME)})
    return found["columns"], found["times"]


def _gathered(
    schema: FeatureSchema,
    windows: Mapping[str, Any],
    events: Mapping[str, tuple[Any, Any]],
    lengths: tuple[int, ...] | None,
) -> dict[str, Any]:
    """The packed histories of a batch; with lengths, cut to the smallest that holds them all."""
    import tensorflow as tf

    x = {}
    cut = None if lengths is None else _bucket_length(windows.values(), lengths)
    for name, window in windows.items():
        columns, times = events[name]
        length = None if cut is None else tf.minimum(cut, schema.history(name).max_length)
        x |= gather_windows(schema, name, columns, times, window, length)
    return x


def _bucket_length(windows: Iterable[Any], lengths: tuple[int, ...]) -> Any:
    """The smallest length that holds all histories of a batch."""
    import tensorflow as tf

    longest = tf.reduce_max([tf.reduce_max(window[:, 1] - window[:, 0]) for window in windows])
    known = tf.constant(lengths, "int64")
    return known[tf.searchsorted(known, longest[None])[0]]


def _group_dataset(epochs: WorkerEpochs, start: int, repeat: bool) -> Any:
    """Groups of rows of whole batches: an epoch an iteration, or without end."""
    import tensorflow as tf

    numbers = itertools.count()

    def groups() -> Iterator[Arrays]:
        if repeat:
            yield from epochs.forever(start)
        elif start % epochs.batches:
            yield from epochs.rest(start)
        else:
            yield from epochs.rest(start + next(numbers) * epochs.batches)

    first = epochs.first_block()
    signature = {
        name: tf.TensorSpec((None, *array.shape[1:]), array.dtype) for name, array in first.items()
    }
    return tf.data.Dataset.from_generator(groups, output_signature=signature).prefetch(1)


def _of_group(
    group: dict[str, Any], schema: FeatureSchema, epochs: WorkerEpochs, labels: bool
) -> Any:
    """The batches of a group."""
    import tensorflow as tf

    lengths = None if epochs.buckets is None else epochs.buckets.lengths

    def of_kind(kind: str, index: Any) -> dict[str, Any]:
        return {
            name.removeprefix(f"{kind}/"): tf.gather(tensor, index)
            for name, tensor in group.items()
            if name.startswith(f"{kind}/")
        }

    def assemble(start: Any) -> Any:
        index = group[ORDER][start : start + epochs.batch_size]
        windows = of_kind("window", index)
        events = {name: (group[f"events/{name}"], group[f"times/{name}"]) for name in windows}
        x = of_kind("x", index) | _gathered(schema, windows, events, lengths)
        return (x, of_kind("label", index), of_kind("weight", index)) if labels else x

    starts = tf.data.Dataset.range(0, tf.size(group[ORDER], "int64"), epochs.batch_size)
    return starts.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)


def _check_arguments(
    batch_size: int, start_batch: int, shard: tuple[int, int], mix_blocks: int, seed: int
) -> None:
    least = {"batch_size": (batch_size, 1), "mix_blocks": (mix_blocks, 1)}
    least |= {"start_batch": (start_batch, 0), "seed": (seed, 0)}
    for name, (value, minimum) in least.items():
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"{_FOLDER}: {name} is {value!r}; expected {minimum} or more.")
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(
            f"{_FOLDER}: shard is {shard}; expected (index, number of workers) with an index "
            "from 0 to the number less one."
        )
