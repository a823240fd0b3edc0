"""The order of epochs over prepared blocks: groups of rows of whole batches, from any batch on."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from keras_infnet.data.event_arrays import NO_TIME
from keras_infnet.data.prepared_rows import Arrays, PreparedRows
from keras_infnet.schema.schema import FeatureSchema

# Which rows of a group come, and when; the number of its epoch, `(1,)`.
ORDER, EPOCH = "order", "epoch"


def join_blocks(blocks: Sequence[Arrays]) -> Arrays:
    """Rows and events of all blocks, in their order."""
    joined: Arrays = {}
    for name in blocks[0]:
        parts = [block[name] for block in blocks]
        if name.startswith("window/"):
            events = [len(block[f"events/{name.removeprefix('window/')}"]) for block in blocks]
            firsts = np.cumsum([0, *events[:-1]])
            parts = [p + [first, first, 0] for p, first in zip(parts, firsts, strict=True)]
        joined[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined


def take_rows(block: Arrays, rows: np.ndarray) -> Arrays:
    """Some rows with the events that they point to, and no others."""
    taken: Arrays = {}
    for name, array in block.items():
        kind, _, history = name.partition("/")
        if kind == "window":
            starts, ends, times = array[rows].T
            lengths = ends - starts
            new_ends = np.cumsum(lengths)
            shifts = np.repeat(starts - (new_ends - lengths), lengths)
            index: np.ndarray = shifts + np.arange(len(shifts))
            taken[name] = np.stack([new_ends - lengths, new_ends, times], axis=1)
            taken[f"events/{history}"] = block[f"events/{history}"][index]
            taken[f"times/{history}"] = block[f"times/{history}"][index]
        elif kind not in ("events", "times"):
            taken[name] = array[rows]
    return {name: taken[name] for name in block}


@dataclass(frozen=True)
class EpochOrder:
    """A function of seed and epoch alone, so that any position of it is found without reading.

    Blocks come in a random order; the rows of `group_size` neighbours are mixed.

    Args:
        block_rows: Rows of each block.
        group_size: Blocks that are read and mixed together.
        shuffle: Whether the order is random; if not, it is that of the blocks.
        seed: Seed of all epochs.
    """

    block_rows: np.ndarray
    group_size: int
    shuffle: bool
    seed: int

    def group_start(self, epoch: int, position: int) -> int:
        """First position of the group that holds a position."""
        rows = self.block_rows[self._blocks(epoch)]
        ends = np.cumsum(rows)[self.group_size - 1 :: self.group_size]
        return int(max((end for end in ends if end <= position), default=0))

    def pieces(self, epoch: int, start: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What makes up the positions `start .. end - 1` of an epoch, group by group.

        Yields:
            Indices of a group's blocks, and which rows of these blocks, below one another, come in
            which order.
        """
        blocks, first = self._blocks(epoch), 0
        for number, at in enumerate(range(0, len(blocks), self.group_size)):
            group = blocks[at : at + self.group_size]
            rows = int(self.block_rows[group].sum())
            wanted = slice(max(start - first, 0), max(min(end - first, rows), 0))
            if wanted.start < wanted.stop:
                yield group, self._order(epoch, number, rows)[wanted]
            first += rows

    def _blocks(self, epoch: int) -> np.ndarray:
        blocks = np.arange(len(self.block_rows))
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(blocks)
        return blocks

    def _order(self, epoch: int, group: int, rows: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(rows)
        return np.random.default_rng([self.seed, epoch, group]).permutation(rows)


@dataclass(frozen=True)
class LengthBuckets:
    """Lengths that the histories of a batch are cut to, by the longest of them.

    Args:
        lengths: Increasing lengths; the last is the largest `max_length`.
        histories: Names of the histories.
        seed: Seed of the order of batches.
    """

    lengths: tuple[int, ...]
    histories: tuple[str, ...]
    seed: int

    @classmethod
    def of(
        cls,
        schema: FeatureSchema,
        lengths: Sequence[int],
        pointers: Sequence[str],
        shuffle: bool,
        seed: int,
        who: str,
    ) -> "LengthBuckets":
        """Buckets of a schema's histories.

        Args:
            schema: A fitted schema.
            lengths: The lengths as given.
            pointers: Names of the histories that are gathered batch by batch.
            shuffle: Whether rows are shuffled.
            seed: Seed of the order of batches.
            who: Who asks, for error messages.

        Raises:
            ValueError: The schema has no history, rows hold one as list columns, lengths do not
                increase from 1 to the longest history's, or rows are not shuffled.
        """
        if not schema.histories:
            raise ValueError(
                f"{who}: `length_buckets` cut histories, and the schema has none. Leave them out."
            )
        listed = [s.name for s in schema.histories if s.name not in pointers]
        if listed:
            raise ValueError(
                f"{who}: `length_buckets` can't cut the histories {', '.join(listed)}, which the "
                "rows hold as list columns. Leave `length_buckets` out, or the columns."
            )
        longest = max(schema.histories, key=lambda sequence: sequence.max_length)
        known = [*lengths]
        if sorted({*known}) != known or not known or known[0] < 1:
            raise ValueError(f"{who}: length_buckets are {known}; expected growing ones.")
        if known[-1] > longest.max_length:
            raise ValueError(
                f"{who}: length_buckets are {known}, but history `{longest.name}` has "
                f"{longest.max_length} positions at most."
            )
        if not shuffle:
            raise ValueError(
                f"{who}: `length_buckets` change the order of rows; pass shuffle=True."
            )
        histories = tuple(sequence.name for sequence in schema.histories)
        return cls(tuple(sorted({*known, longest.max_length})), histories, seed)

    def numbers(self, windows: Mapping[str, np.ndarray]) -> np.ndarray:
        """The bucket of each row.

        Args:
            windows: Start, end and time of every row, `(rows, 3)`, by history.
        """
        lengths = [windows[n][:, 1] - windows[n][:, 0] for n in self.histories]
        most: np.ndarray = np.max(lengths, axis=0)
        return np.searchsorted(np.asarray(self.lengths), most)

    def order(
        self,
        windows: Mapping[str, np.ndarray],
        order: np.ndarray,
        batch_size: int,
        place: tuple[int, int],
    ) -> np.ndarray:
        """The rows of whole batches in another order: batches of one bucket, batches mixed.

        Args:
            windows: Start, end and time of every row, `(rows, 3)`, by history.
            order: Rows of whole batches.
            batch_size: Rows of a batch.
            place: Epoch and position, which make the order of batches.
        """
        numbers = self.numbers({name: windows[name][order] for name in self.histories})
        batches = order[np.argsort(numbers, kind="stable")].reshape(-1, batch_size)
        return np.random.default_rng([self.seed, *place]).permutation(batches).ravel()


@dataclass(frozen=True)
class WorkerEpochs:
    """One worker's part of every epoch, as groups of rows of whole batches.

    A group is the arrays of `PreparedRows.read`, `order`: which of the rows come, and when, and
    `epoch`: the number of their epoch.

    Args:
        rows: The split.
        order: The order of epochs.
        batch_size: Rows of a batch.
        drop_remainder: Whether a last, smaller batch is left out.
        worker: Index of this worker.
        workers: Number of workers.
        buckets: Lengths to group rows by.
    """

    rows: PreparedRows
    order: EpochOrder
    batch_size: int
    drop_remainder: bool
    worker: int
    workers: int
    buckets: LengthBuckets | None = None

    @property
    def own_rows(self) -> int:
        """Rows of this worker in an epoch."""
        return int(self.rows.block_rows.sum()) // self.workers

    @property
    def batches(self) -> int:
        """Batches of this worker in an epoch."""
        full, more = divmod(self.own_rows, self.batch_size)
        return full + (more > 0 and not self.drop_remainder)

    def rest(self, start_batch: int) -> Iterator[Arrays]:
        """Groups of an epoch from a batch on: arrays, and in which order their rows come."""
        epoch, batch = divmod(start_batch, self.batches)
        first = self.worker * self.own_rows
        wanted = first + batch * self.batch_size
        # The order of a group's whole batches is that of all of them, so none may lack.
        group = max(first, self.order.group_start(epoch, wanted)) if self.buckets else wanted
        position = first + -(-(group - first) // self.batch_size) * self.batch_size
        skip = wanted - position
        over: list[Arrays] = []
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for blocks, order in self.order.pieces(epoch, position, first + self.own_rows):
                more = len(over[0][ORDER]) if over else 0
                arrays = join_blocks([*over, *pool.map(self._read, blocks)])
                order = np.concatenate([np.arange(more), more + order])
                whole = len(order) // self.batch_size * self.batch_size
                ready = self._bucketed(arrays, order[:whole], more, (epoch, position))[skip:]
                if len(ready):
                    yield _ready(arrays, ready, epoch)
                position, skip = position + whole, max(0, skip - whole)
                over = [take_rows(arrays, order[whole:])] if whole < len(order) else []
        if over and not self.drop_remainder:
            yield _ready(over[0], np.arange(len(over[0][ORDER])), epoch)

    def _bucketed(
        self, arrays: Arrays, order: np.ndarray, more: int, place: tuple[int, int]
    ) -> np.ndarray:
        """Whole batches by length; one that begins with rows of the group before stays."""
        stays = self.batch_size if more else 0
        if self.buckets is None or len(order) <= stays:
            return order
        windows = {name: arrays[f"window/{name}"] for name in self.buckets.histories}
        place = (place[0], place[1] + stays)
        mixed = self.buckets.order(windows, order[stays:], self.batch_size, place)
        return np.concatenate([order[:stays], mixed])

    def first_block(self) -> Arrays:
        """A group for its names, types and shapes."""
        return _ready(self._read(0), np.zeros(0, "int64"), 0)

    def _read(self, block: int) -> Arrays:
        arrays = self.rows.read(block)
        return {**arrays, ORDER: np.zeros(self.rows.block_rows[block], "int64")}


def _ready(arrays: Arrays, order: np.ndarray, epoch: int) -> Arrays:
    """Rows in an order of an epoch; one more event, so that empty histories can be gathered."""
    ready = {**arrays, ORDER: order, EPOCH: np.array([epoch], "int64")}
    for name, array in arrays.items():
        if name.startswith("events/"):
            ready[name] = np.pad(array, ((0, 1), (0, 0)))
        elif name.startswith("times/"):
            ready[name] = np.append(array, NO_TIME)
    return ready
