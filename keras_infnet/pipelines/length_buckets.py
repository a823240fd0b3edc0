"""Batches of rows whose histories are about as long, cut to the length of their bucket."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_infnet.features.schema import FeatureSchema


@dataclass(frozen=True)
class LengthBuckets:
    """Lengths of the one history that batches are cut to.

    Args:
        lengths: Increasing lengths; the last is the history's `max_length`.
        history: Name of the history.
        seed: Seed of the order of batches.
    """

    lengths: tuple[int, ...]
    history: str
    seed: int

    @classmethod
    def of(
        cls, schema: FeatureSchema, lengths: Sequence[int], shuffle: bool, seed: int
    ) -> "LengthBuckets":
        """Buckets of a schema's history.

        Raises:
            ValueError: The schema has not one history, lengths do not increase from 1 to its
                length, or rows are not shuffled.
        """
        if len(schema.sequences) != 1:
            raise ValueError(
                f"stream_dataset: `length_buckets` need a schema with one history; this one has "
                f"{len(schema.sequences)}."
            )
        sequence = schema.sequences[0]
        known = [*lengths]
        if sorted({*known}) != known or not known or known[0] < 1:
            raise ValueError(f"stream_dataset: length_buckets are {known}; expected growing ones.")
        if known[-1] > sequence.max_length:
            raise ValueError(
                f"stream_dataset: length_buckets are {known}, but history `{sequence.name}` has "
                f"{sequence.max_length} positions at most."
            )
        if not shuffle:
            raise ValueError(
                "stream_dataset: `length_buckets` change the order of rows; pass shuffle=True."
            )
        return cls(tuple(sorted({*known, sequence.max_length})), sequence.name, seed)

    def order(
        self, window: np.ndarray, order: np.ndarray, batch_size: int, place: tuple[int, int]
    ) -> np.ndarray:
        """The rows of whole batches in another order: batches of one bucket, batches mixed.

        Args:
            window: Start, end and time of every row, `(rows, 3)`.
            order: Rows of whole batches.
            batch_size: Rows of a batch.
            place: Epoch and position, which make the order of batches.
        """
        lengths = window[order, 1] - window[order, 0]
        by_bucket = np.argsort(np.searchsorted(self.lengths, lengths), kind="stable")
        batches = order[by_bucket].reshape(-1, batch_size)
        return np.random.default_rng([self.seed, *place]).permutation(batches).ravel()
