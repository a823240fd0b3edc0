"""Batches for Keras's fit, evaluate and predict, from a frame or a prepared folder."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from keras_infnet._backend.batch_dataset import dataset_class, encoded_by, without_autotuning
from keras_infnet._base.checks import bad
from keras_infnet._base.paths import local_path
from keras_infnet.data.epochs import EPOCH, ORDER, EpochOrder, LengthBuckets, WorkerEpochs
from keras_infnet.data.histories import (
    NO_TIME,
    FreezeAt,
    Histories,
    check_histories,
    freezes_by_history,
    gather_windows,
)
from keras_infnet.data.list_order import ListOrder
from keras_infnet.data.narrow_columns import NarrowColumns, take_rows
from keras_infnet.data.prepared_rows import NUMBER, Arrays, PreparedRows
from keras_infnet.data.shards import MANIFEST
from keras_infnet.data.unknown_ids import UnknownIds
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.frames import Frame, as_frame, as_rows, below_another, decoded, to_frame
from keras_infnet.schema.list_key import FILLS_UP, LIST_CODES, NO_LIST
from keras_infnet.schema.schema import FeatureSchema

Rows = Frame | str | Path | Sequence[str | Path]
By = Literal["row", "list"]

_FRAME, _FOLDER = "Batches.from_rows", "Batches.from_folder"
_LIST = "list"


class Batches:
    """A `tf.data.Dataset` of batches that knows their number and can begin at any of them.

    `from_rows` and `from_folder` make one; Keras takes it on every backend. A batch is
    `(x, y, sample_weight)`: `x` a dict as in `schema.packed_inputs()`, the others dicts by task of
    `(batch, 1)` float32, weight 0 where a label is not observed; or `x` alone. With batches of
    lists `y` has besides, as `#list`, a code of each row's list, which no model reads.

    Everything that a dataset can do it can do; `map`, `take`, `skip` and `prefetch` give `Batches`
    again, all else a plain dataset. Models compare `schema`, that of the encoder, with their own,
    also where batches went through `map`, `repeat` or anything else of tf.data.

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

    schema: FeatureSchema
    _later: Callable[[int], Any]
    _epoch: int | None
    # Whether rows come in another order in each epoch.
    shuffled: bool

    def __init__(self) -> None:
        raise TypeError("Batches: make them by `Batches.from_rows` or `Batches.from_folder`.")

    @classmethod
    def from_rows(
        cls,
        encoder: FeatureEncoder,
        rows: Rows,
        histories: Histories | None = None,
        *,
        batch_size: int = 256,
        shuffle: bool = False,
        seed: int = 0,
        freeze_at: FreezeAt | None = None,
        labels: bool = True,
        drop_remainder: bool = False,
        length_buckets: Sequence[int] | None = None,
        unknown_rate: Mapping[str, float] | None = None,
        by: By = "row",
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
            freeze_at: Time from which on no event enters a history; see
                `Histories.windows`.
            labels: Whether batches have labels and weights, or are `x` alone.
            drop_remainder: Whether a last, smaller batch is left out.
            length_buckets: As in `from_folder`.
            unknown_rate: Share of rows, by feature, in which a known id counts as unknown, the same
                in candidate and history, so that the embedding of "unknown" is trained. Another
                draw in each epoch. Holds for all features of a table. Needs `shuffle`, and rows one
                by one. Defaults to none.
            by: `"list"`: batches of whole lists of the schema's `list_key`, with labels; see
                `RankingData.batches`. Defaults to `"row"`.

        Returns:
            Batches that know their number.

        Raises:
            ValueError: No rows, a missing column or bad value, histories lacking, or of another
                encoder, an argument is out of range, or as `RankingData.batches` by lists.
        """
        frame = _read_rows(rows)
        return EncodedRows(encoder, frame, histories, _FRAME).batches(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            freeze_at=freeze_at,
            labels=labels,
            drop_remainder=drop_remainder,
            length_buckets=length_buckets,
            unknown_rate=unknown_rate,
            by=by,
        )

    @classmethod
    def from_folder(
        cls,
        encoder: FeatureEncoder,
        folder: str | Path,
        split: str = "train",
        *,
        batch_size: int = 256,
        shuffle: bool = False,
        seed: int = 0,
        freeze_at: FreezeAt | None = None,
        labels: bool = True,
        drop_remainder: bool = False,
        start_batch: int = 0,
        repeat: bool = False,
        shard: tuple[int, int] = (0, 1),
        mix_blocks: int = 16,
        length_buckets: Sequence[int] | None = None,
        unknown_rate: Mapping[str, float] | None = None,
    ) -> "Batches":
        """Batches of a folder that `prepare` wrote, in bounded memory.

        `mix_blocks` blocks at a time are read in parallel, while the batches of those before them
        are used. Memory is that of three times so many blocks, whatever the size of the folder.

        Args:
            encoder: The encoder that `prepare` returned, or
                `FeatureEncoder.load(folder / "encoder")`. Of a folder that days are appended to,
                any encoder of the same columns, dtypes and edges.
            folder: What `prepare` wrote.
            split: Name of the split.
            batch_size: Rows a batch.
            shuffle: Whether each epoch has another order: blocks of all shards come in random
                order, and the rows of `mix_blocks` of them mix. If not, rows come as in the files.
            seed: Seed of the order; the same seed gives the same epochs.
            freeze_at: Time from which on no event enters a history, or `"first_row"`;
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
            unknown_rate: As in `from_rows`.

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
            >>> log["time_ms"] += 1_790_000_000_000
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     encoder = keras_infnet.data.prepare(schema, log, f"{folder}/log", verbose=False)
            ...     batches = keras_infnet.data.Batches.from_folder(
            ...         encoder, f"{folder}/log", batch_size=2
            ...     )
            ...     [y["click"][:, 0].tolist() for x, y, weight in batches.as_numpy_iterator()]
            [[0.0, 1.0], [1.0]]
        """
        folder = local_path(folder, _FOLDER, "folder")
        encoder.schema.require_fitted()
        check_whole(_FOLDER, 1, batch_size=batch_size, mix_blocks=mix_blocks)
        check_whole(_FOLDER, 0, start_batch=start_batch, seed=seed)
        if not 0 <= shard[0] < shard[1]:
            raise bad(
                _FOLDER,
                "shard",
                shard,
                "(index, number of workers) with an index from 0 to the number less one",
            )
        unknown = UnknownIds.of(encoder.schema, unknown_rate, shuffle, seed, _FOLDER)
        rows = PreparedRows(folder, encoder, split, labels, freeze_at, numbers=unknown is not None)
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
            return _folder_dataset(epochs, start, repeat, encoder.schema, labels, unknown)

        return _batches(
            starting_at(start_batch, repeat),
            lambda batch: starting_at(start_batch + batch, True),
            None if repeat or start_batch % epochs.batches else epochs.batches,
            encoder.schema,
            shuffle,
        )

    def starting_at(self, batch: int) -> Any:
        """A dataset without end, from a batch on: how training goes on where it stopped.

        Args:
            batch: Number of the first batch, counted over all epochs, as `fit` would see them.

        Returns:
            A `tf.data.Dataset` that begins there in each iteration.
        """
        return encoded_by(without_autotuning(self._later(batch)), self.schema)

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
        later = self._later
        return _batches(
            own, lambda batch: change(later(batch)), self._epoch, self.schema, self.shuffled
        )

    def _part(self, own: Any, first: int, end: int, whole: int) -> Any:
        """Batches `first .. end - 1` of each epoch; those between are read and thrown away."""
        if first >= end:
            return own
        later = self._later

        def starting_at(batch: int) -> Any:
            epoch, place = divmod(batch, end - first)
            start = epoch * whole + first + place
            numbered = later(start).enumerate(start)

            def is_wanted(number: Any, _: Any) -> Any:
                return (number % whole >= first) & (number % whole < end)

            def without_number(_: Any, elements: Any) -> Any:
                return elements

            return numbered.filter(is_wanted).map(without_number)

        return _batches(own, starting_at, end - first, self.schema, self.shuffled)


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
        with_epoch: Whether each number comes with one of its epoch.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    rows: int
    batch_size: int
    shuffle: bool
    seed: int
    drop_remainder: bool = False
    buckets: np.ndarray | None = None
    with_epoch: bool = False

    def __post_init__(self) -> None:
        check_whole(_FRAME, 1, batch_size=self.batch_size)

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

        def rows_of(seed: Any) -> Any:
            return self._cut(self._permutation(seed))

        return epochs.flat_map(rows_of).skip(first)

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
        numbers = (order, tf.fill([self.rows], epoch_seed)) if self.with_epoch else order
        return tf.data.Dataset.from_tensor_slices(numbers)


class EncodedRows:
    """Rows of a frame, encoded once, that batches are cut from in any order.

    Args:
        encoder: A fitted encoder.
        frame: The rows.
        histories: Past events, as in `Batches.from_rows`.
        who: Who asks, for error messages.

    Raises:
        ValueError: There is no row. In `batches`: as `Batches.from_rows`.
    """

    def __init__(
        self, encoder: FeatureEncoder, frame: pd.DataFrame, histories: Histories | None, who: str
    ) -> None:
        frame = as_rows(frame, who)
        self._encoder, self._schema, self._who = encoder, encoder.schema, who
        self._frame = frame
        # `check_histories` says when they lack.
        self._histories: Any = histories
        self._arrays: dict[str, Any] = {}
        self._windows: dict[Any, dict[str, np.ndarray]] = {}
        self._codes: np.ndarray | None = None

    def batches(
        self,
        *,
        freeze_at: FreezeAt | None,
        labels: bool,
        length_buckets: Sequence[int] | None,
        unknown_rate: Mapping[str, float] | None = None,
        by: By = "row",
        **of_order: Any,
    ) -> Batches:
        """Batches, as in `Batches.from_rows`."""
        import tensorflow as tf

        who, lengths = self._who, None
        order: Any = RowOrder(len(self._frame), **of_order)
        unknown = UnknownIds.of(self._schema, unknown_rate, order.shuffle, order.seed, who)
        if by != "row":
            check_by_lists(who, self._schema, by, labels, length_buckets, unknown_rate)
            if self._codes is None:
                self._codes = self._schema.lists_of(self._frame, who)
            order = ListOrder(self._codes, order.batch_size, order.shuffle, order.seed, who)
        else:
            order = replace(order, with_epoch=unknown is not None)
        lacking = check_histories(who, self._encoder, self._frame, self._histories, freeze_at)
        windows = self._windows_of(lacking, freeze_at)
        if length_buckets is not None:
            buckets = LengthBuckets.of(
                self._schema, length_buckets, lacking, order.shuffle, order.seed, who
            )
            order, lengths = replace(order, buckets=buckets.numbers(windows)), buckets.lengths
        arrays = self._encoded(labels) | _on_cpu("window", windows)
        if by == "list":
            arrays |= _on_cpu(_LIST, {"codes": order.codes})

        def assembled(numbers: Any) -> Any:
            def batch_of(index: Any, epochs: Any = None) -> Any:
                if by == "list":
                    return _list_batch(self._schema, arrays, index)
                draw = None if unknown is None else (unknown, index, epochs)
                return _batch(self._schema, arrays, index, lengths, labels, draw)

            mapped = numbers.map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)
            return mapped.prefetch(tf.data.AUTOTUNE)

        known = tf.data.experimental.assert_cardinality(order.batches)
        return _batches(
            assembled(order.epochs().apply(known)),
            lambda batch: assembled(order.starting_at(batch)),
            order.batches,
            self._schema,
            order.shuffle,
        )

    def _windows_of(
        self, names: Sequence[str], freeze_at: FreezeAt | None
    ) -> dict[str, np.ndarray]:
        """Windows of the histories; those of one time a row are not kept."""
        by_history = freezes_by_history(freeze_at) or {"": freeze_at}
        keep = not any(np.ndim(part) for part in by_history.values())
        key = tuple(by_history.items()) if keep else None
        if (known := self._windows.get(key)) is not None:
            return known
        windows = {
            name: np.stack(self._histories.windows(name, self._frame, freeze_at), axis=1)
            for name in names
        }
        if keep:
            self._windows[key] = windows
        return windows

    def _encoded(self, labels: bool) -> dict[str, Any]:
        """Inputs, events, and with labels these and their weights, encoded once."""
        if not self._arrays:
            inputs = self._encoder.transform(self._frame)
            self._arrays = {f"x/{n}": NarrowColumns(inputs.pop(n)) for n in list(inputs)}
            found = self._histories.events.items() if self._histories else ()
            for name, events in found:
                # One more: a history may have none.
                columns = np.pad(events.columns, ((0, 1), (0, 0)))
                self._arrays[f"events/{name}"] = NarrowColumns(columns)
                self._arrays |= _on_cpu("times", {name: np.append(events.times, NO_TIME)})
        if labels and not any(name.startswith("label/") for name in self._arrays):
            found = read_labels(self._schema, self._frame)
            for kind, columns in zip(("label", "weight"), found, strict=True):
                columns = {task: values[:, None] for task, values in columns.items()}
                self._arrays |= _on_cpu(kind, columns)
        return self._arrays


def _batches(
    dataset: Any,
    later: Callable[[int], Any],
    epoch: int | None,
    schema: FeatureSchema,
    shuffled: bool,
) -> Any:
    """The dataset as `Batches`, with `starting_at` and the number of batches an epoch."""
    batches = encoded_by(dataset_class(Batches)(without_autotuning(dataset)), schema)
    batches._later, batches._epoch, batches.shuffled = later, epoch, shuffled
    return batches


def _read_rows(rows: Any) -> pd.DataFrame:
    """The frame itself, or the rows of Parquet shards (a file, a folder, or a list of files)."""
    is_path = issubclass(type(rows), (str, Path))
    if not is_path and not issubclass(type(rows), (list, tuple)):
        return as_frame(rows, _FRAME, "one or more paths of Parquet files")
    paths: list[Any] = [rows] if is_path else list(rows)
    if not all(isinstance(path, (str, Path)) for path in paths):
        raise ValueError(
            f"{_FRAME}: the rows are a {type(rows).__name__} of other things than paths; expected "
            "a frame, or one or more paths of Parquet files."
        )
    paths = [local_path(path, _FRAME, "rows") for path in paths]
    missing = [str(path) for path in paths if not path.exists()]
    if missing or not paths:
        raise ValueError(f"{_FRAME}: no Parquet file or folder {missing or 'was given'}.")
    if any((path / MANIFEST).exists() for path in paths):
        raise ValueError(
            f"{_FRAME}: {paths[0]} was written by `prepare`; use `Batches.from_folder` to read it."
        )
    table = below_another([decoded(pq.read_table(path)) for path in paths])
    return to_frame(table, np.arange(len(table)))


def _on_cpu(kind: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tensors `{kind}/{name}` that tf.data reads where it runs."""
    import tensorflow as tf

    with tf.device("CPU"):
        return {f"{kind}/{name}": tf.constant(array) for name, array in arrays.items()}


def _batch(
    schema: FeatureSchema,
    arrays: Mapping[str, Any],
    index: Any,
    lengths: tuple[int, ...] | None,
    labels: bool,
    draw: tuple[UnknownIds, Any, Any] | None = None,
) -> Any:
    """Rows of arrays that are named as in `PreparedRows.read`.

    With lengths, histories are cut to the smallest that holds all of the batch. `draw`: what
    replaces ids, with the numbers of rows and epochs that it needs.
    """
    import tensorflow as tf

    def of_kind(kind: str) -> dict[str, Any]:
        return {
            name.removeprefix(f"{kind}/"): take_rows(rows, index)
            for name, rows in arrays.items()
            if name.startswith(f"{kind}/")
        }

    x, windows = of_kind("x"), of_kind("window")
    cut = None
    if lengths is not None:
        longest = tf.reduce_max([tf.reduce_max(w[:, 1] - w[:, 0]) for w in windows.values()])
        known = tf.constant(lengths, "int64")
        cut = known[tf.searchsorted(known, longest[None])[0]]
    for name, window in windows.items():
        length = None if cut is None else tf.minimum(cut, schema.history(name).max_length)
        events, times = arrays[f"events/{name}"], arrays[f"times/{name}"]
        x |= gather_windows(schema, name, events, times, window, length)
    if draw is not None:
        unknown, rows, epoch = draw
        x = unknown.applied(x, rows, epoch)
    return (x, of_kind("label"), of_kind("weight")) if labels else x


def _list_batch(schema: FeatureSchema, arrays: Mapping[str, Any], index: Any) -> Any:
    """Rows of whole lists, with their codes beside the labels; what fills up has weight 0."""
    import tensorflow as tf

    there = index >= 0
    # Something must stand in an empty place: the first row.
    index = tf.where(there, index, index[0])
    x, y, weights = _batch(schema, arrays, index, None, True)
    codes = tf.gather(arrays[f"{_LIST}/codes"], index)
    # Small numbers, which floats hold exactly.
    within = tf.where(codes < 0, NO_LIST, tf.unique(codes).idx)
    y |= {LIST_CODES: tf.where(there, within, FILLS_UP)[:, None]}
    counted = tf.cast(there, "float32")[:, None]
    return x, y, {task: weight * counted for task, weight in weights.items()}


def _folder_dataset(
    epochs: WorkerEpochs,
    start: int,
    repeat: bool,
    schema: FeatureSchema,
    labels: bool,
    unknown: UnknownIds | None,
) -> Any:
    """Batches of a folder from one on: an epoch an iteration, or without end."""
    import tensorflow as tf

    numbers, whole = itertools.count(), epochs.batches
    lengths = None if epochs.buckets is None else epochs.buckets.lengths

    def groups() -> Iterator[Arrays]:
        later = 0 if repeat or start % whole else next(numbers)
        yield from epochs.rest(start + later * whole)
        for epoch in itertools.count(start // whole + 1) if repeat else ():
            yield from epochs.rest(epoch * whole)

    def batches(group: dict[str, Any]) -> Any:
        def assemble(first: Any) -> Any:
            index = group[ORDER][first : first + epochs.batch_size]
            draw = None
            if unknown is not None:
                rows = tf.gather(group[NUMBER], index)
                draw = (unknown, rows, tf.fill(tf.shape(rows), group[EPOCH][0]))
            return _batch(schema, group, index, lengths, labels, draw)

        firsts = tf.data.Dataset.range(0, tf.size(group[ORDER], "int64"), epochs.batch_size)
        return firsts.map(assemble, num_parallel_calls=tf.data.AUTOTUNE)

    signature = {
        name: tf.TensorSpec((None, *array.shape[1:]), array.dtype)
        for name, array in epochs.first_block().items()
    }
    data = tf.data.Dataset.from_generator(groups, output_signature=signature).prefetch(1)
    number = tf.data.INFINITE_CARDINALITY if repeat else whole - start % whole
    known = tf.data.experimental.assert_cardinality(number)
    return data.flat_map(batches).apply(known).prefetch(tf.data.AUTOTUNE)


def check_whole(who: str, least: int, kind: str = "", **arguments: Any) -> None:
    """Raises a ValueError unless all are whole numbers, of numpy or not, of at least `least`."""
    for name, value in arguments.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise bad(who, name, value, f"{kind}{least} or more")


def check_by_lists(
    who: str,
    schema: FeatureSchema,
    by: str,
    labels: bool,
    length_buckets: Any,
    unknown_rate: Any,
) -> None:
    """Raises a ValueError for batches that can't be made by lists."""
    if by != "list":
        raise bad(who, "by", by, '"row" or "list"')
    schema.require_lists(who)
    if not labels:
        raise ValueError(
            f'{who}: by="list" with labels=False; batches of lists are filled up, and predictions '
            "would not say with what. Predict by rows: leave `by` out."
        )
    if length_buckets is not None:
        raise ValueError(
            f'{who}: `length_buckets` put rows of one length together, and by="list" those of one '
            "list. Give one of them."
        )
    if unknown_rate:
        raise ValueError(
            f'{who}: `unknown_rate` draws for rows one by one, and by="list" takes whole lists. '
            "Give one of them."
        )
