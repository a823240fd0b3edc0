"""Batches of rows whose histories are about as long, cut to the length of their bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_infnet.schema.schema import FeatureSchema


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
        cls, schema: FeatureSchema, lengths: Sequence[int], shuffle: bool, seed: int
    ) -> "LengthBuckets":
        """Buckets of a schema's histories.

        Raises:
            ValueError: The schema has no history, lengths do not increase from 1 to the longest
                history's, or rows are not shuffled.
        """
        if not schema.histories:
            raise ValueError(
                "stream_dataset: `length_buckets` cut histories, and the schema has none. Leave "
                "them out."
            )
        longest = max(schema.histories, key=lambda sequence: sequence.max_length)
        known = [*lengths]
        if sorted({*known}) != known or not known or known[0] < 1:
            raise ValueError(f"stream_dataset: length_buckets are {known}; expected growing ones.")
        if known[-1] > longest.max_length:
            raise ValueError(
                f"stream_dataset: length_buckets are {known}, but history `{longest.name}` has "
                f"{longest.max_length} positions at most."
            )
        if not shuffle:
            raise ValueError(
                "stream_dataset: `length_buckets` change the order of rows; pass shuffle=True."
            )
        histories = tuple(sequence.name for sequence in schema.histories)
        return cls(tuple(sorted({*known, longest.max_length})), histories, seed)

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
        of_each = [windows[name][order, 1] - windows[name][order, 0] for name in self.histories]
        lengths = np.max(of_each, axis=0)
        by_bucket = np.argsort(np.searchsorted(self.lengths, lengths), kind="stable")
        batches = order[by_bucket].reshape(-1, batch_size)
        return np.random.default_rng([self.seed, *place]).permutation(batches).ravel()
