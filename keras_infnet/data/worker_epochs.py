"""Blocks as groups of whole batches, from any batch on, for one of several workers."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from keras_infnet.data.block_group import join_blocks, take_rows
from keras_infnet.data.epoch_order import EpochOrder
from keras_infnet.data.histories import NO_TIME
from keras_infnet.data.length_buckets import LengthBuckets
from keras_infnet.data.prepared_rows import Arrays, PreparedRows

ORDER = "order"


@dataclass(frozen=True)
class WorkerEpochs:
    """One worker's part of every epoch, as groups of rows of whole batches.

    A group is the arrays of `PreparedRows.read` and `order`: which of the rows come, and when.

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

    def forever(self, start_batch: int) -> Iterator[Arrays]:
        """Groups of all epochs from a batch on."""
        yield from self.rest(start_batch)
        for epoch in itertools.count(start_batch // self.batches + 1):
            yield from self.rest(epoch * self.batches)

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
                    yield _ready(arrays, ready)
                position, skip = position + whole, max(0, skip - whole)
                over = [take_rows(arrays, order[whole:])] if whole < len(order) else []
        if over and not self.drop_remainder:
            yield _ready(over[0], np.arange(len(over[0][ORDER])))

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
        return _ready(self._read(0), np.zeros(0, "int64"))

    def _read(self, block: int) -> Arrays:
        arrays = self.rows.read(block)
        return {**arrays, ORDER: np.zeros(self.rows.block_rows[block], "int64")}


def _ready(arrays: Arrays, order: np.ndarray) -> Arrays:
    """Rows in an order; one more event, so that histories without any can be gathered too."""
    ready = {**arrays, ORDER: order}
    for name, array in arrays.items():
        if name.startswith("events/"):
            ready[name] = np.pad(array, ((0, 1), (0, 0)))
        elif name.startswith("times/"):
            ready[name] = np.append(array, NO_TIME)
    return ready
