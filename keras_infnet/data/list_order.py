"""The order in which whole lists come, epoch by epoch, as batches of their rows' numbers."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

# In the place of a row's number: nothing, the batch is filled up.
NO_ROW = -1


@dataclass(frozen=True)
class ListOrder:
    """Batches of whole lists: all of `batch_size` places, of which few are empty.

    Lists follow one another in a random order, drawn once; a batch ends before the list that would
    be cut. In each epoch lists of equal length change places, and batches come in another order, so
    that all epochs have equally many. A row in no list is one by itself.

    Args:
        codes: List of each row, `(rows,)`, -1 for none.
        batch_size: Places of a batch.
        shuffle: Whether each epoch has another order; if not, lists come as their first rows do.
        seed: Seed of all epochs.
        who: Who asks, for error messages.

    Raises:
        ValueError: A list has more rows than a batch.
    """

    codes: np.ndarray
    batch_size: int
    shuffle: bool
    seed: int
    who: str

    def __post_init__(self) -> None:
        longest = int(self._lengths.max())
        if longest > self.batch_size:
            row = int(self._rows[self._starts[int(np.argmax(self._lengths))]])
            raise ValueError(
                f"{self.who}: the list of the row at place {row} has {longest} rows, and a batch "
                f"{self.batch_size}; lists are never cut. Take batch_size={longest} or more, or a "
                "`list_key` of smaller lists."
            )

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return int(self._batch_of_slot[-1]) + 1

    def epochs(self) -> Any:
        """The batches of an epoch, another in each iteration."""
        numbers = itertools.count()
        return self._dataset(lambda: iter(self.epoch(next(numbers))))

    def starting_at(self, batch: int) -> Any:
        """The batches of `epochs` from one on, without end; the same in each iteration."""
        first, place = divmod(batch, self.batches)

        def rows() -> Iterator[np.ndarray]:
            yield from self.epoch(first)[place:]
            for number in itertools.count(first + 1):
                yield from self.epoch(number)

        return self._dataset(rows)

    def epoch(self, number: int) -> np.ndarray:
        """Rows of all batches of an epoch, `(batches, batch_size)`, `NO_ROW` in empty places."""
        random = np.random.default_rng([self.seed, number])
        lists, lengths = self._slots, self._lengths[self._slots]
        if self.shuffle:
            by_length = np.lexsort((random.random(len(lists)), self._lengths))
            lists = np.empty_like(lists)
            lists[np.argsort(lengths, kind="stable")] = by_length
        ends = np.cumsum(lengths)
        places: np.ndarray = np.arange(int(ends[-1]))
        rows = self._rows[places + np.repeat(self._starts[lists] - (ends - lengths), lengths)]
        batch = np.repeat(self._batch_of_slot, lengths)
        batches = np.full((self.batches, self.batch_size), NO_ROW)
        batches[batch, places - np.searchsorted(batch, batch)] = rows
        return random.permutation(batches) if self.shuffle else batches

    @cached_property
    def _of_row(self) -> np.ndarray:
        """A list of every row, numbered as their first rows come."""
        alone = self.codes.max(initial=0) + 1 + np.arange(len(self.codes))
        return pd.factorize(np.where(self.codes < 0, alone, self.codes))[0]

    @cached_property
    def _rows(self) -> np.ndarray:
        """Rows, list by list."""
        return np.argsort(self._of_row, kind="stable")

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.bincount(self._of_row)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum(self._lengths) - self._lengths

    @cached_property
    def _slots(self) -> np.ndarray:
        """The order of lists that says which lengths share a batch."""
        lists = np.arange(len(self._lengths))
        return np.random.default_rng(self.seed).permutation(lists) if self.shuffle else lists

    @cached_property
    def _batch_of_slot(self) -> np.ndarray:
        ends = np.cumsum(self._lengths[self._slots])
        firsts, full = [0], 0
        while (first := int(np.searchsorted(ends, full + self.batch_size, "right"))) < len(ends):
            firsts.append(first)
            full = int(ends[first - 1])
        return np.searchsorted(firsts, np.arange(len(ends)), "right") - 1

    def _dataset(self, rows: Any) -> Any:
        import tensorflow as tf

        signature = tf.TensorSpec((self.batch_size,), "int64")
        return tf.data.Dataset.from_generator(rows, output_signature=signature)
