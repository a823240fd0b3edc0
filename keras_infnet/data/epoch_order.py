"""The order of an epoch: which blocks are read together, and which of their rows comes when."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


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
