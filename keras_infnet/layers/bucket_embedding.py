"""Bucket embedding: action, ratio, age and position of an event, as one vector."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class BucketEmbedding(ConfiguredLayer):
    """Sum of one row for each bucketised quantity of an event, and one for its position.

    `output_l = A[action_l] + R[ratio_l] + D[age_l] + P[position_l]`, for whichever quantities are
    there. Positions count from the newest event, which has 0 and stands last; several histories
    side by side have positions of their own. Histories may come without their oldest positions: one
    alone as it is, several with their rows of `P` as `"position"` in `buckets`.

    Args:
        num_buckets: Number of buckets of each quantity, by name.
        dim: Width of a row.
        lengths: Lengths of the histories that lie side by side. Defaults to `()`: no positions.
        initializer: Initializer of all tables. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        buckets: Dict of integer tensors `(batch, length)`, one for each name in `num_buckets`; it
            may have `"position"`, `(1, length)`: the row of each position, from 0 in the newest
            event of the first history on, histories one below the other.

    Returns:
        Float tensor `(batch, length, dim)`; batch is 1 if there are positions alone.

    Raises:
        ValueError: A size is below 1, there is nothing to embed, a quantity is missing, or a
            history is longer than its positions.

    Example:
        >>> embedding = keras_infnet.layers.BucketEmbedding({"age": 23}, dim=4, lengths=(3,))
        >>> tuple(embedding({"age": keras.ops.array([[0, 5, 2], [1, 1, 0]])}).shape)
        (2, 3, 4)
    """

    def __init__(
        self,
        num_buckets: Mapping[str, int],
        dim: int,
        lengths: Sequence[int] = (),
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        num_buckets, lengths = dict(num_buckets), tuple(lengths)
        sizes = [*num_buckets.values(), *lengths]
        if not sizes or min(dim, *sizes) < 1:
            raise ValueError(
                "`num_buckets` or `lengths` must be there, and all sizes 1 or more. "
                f"Received: {num_buckets=}, {dim=}, {lengths=}"
            )
        self.num_buckets = num_buckets
        self.dim = dim
        self.lengths = lengths
        self.initializer: Any = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.01)
        )

    def build(self, buckets_shape: Any = None) -> None:
        self.tables = {
            name: self._table(f"{name}_table", rows) for name, rows in self.num_buckets.items()
        }
        if self.lengths:
            self.positions = self._table("positions", sum(self.lengths))

    def call(self, buckets: Mapping[str, Any]) -> Any:
        missing = sorted(set(self.num_buckets) - set(buckets))
        if missing:
            raise ValueError(
                f"Layer `{self.name}`: `buckets` lacks {missing}; "
                f"expected {list(self.num_buckets)}."
            )
        rows = [embedding_lookup(self.tables[name], buckets[name]) for name in self.num_buckets]
        if self.lengths and "position" in buckets:
            rows.append(embedding_lookup(self.positions, buckets["position"]))
        elif self.lengths:
            positions = embedding_lookup(self.positions, self._newest_last())
            # One history may lack its oldest positions.
            if rows and len(self.lengths) == 1:
                self._check_length(rows[0].shape[1])
                positions = positions[self.lengths[0] - ops.shape(rows[0])[1] :]
            rows.append(ops.expand_dims(positions, 0))
        return ops.cast(sum(rows[1:], rows[0]), self.compute_dtype)

    def compute_output_shape(self, buckets_shape: Mapping[str, tuple]) -> tuple:
        for name in self.num_buckets:
            return (*buckets_shape[name], self.dim)
        if "position" in buckets_shape:
            return (*buckets_shape["position"], self.dim)
        return (1, sum(self.lengths), self.dim)

    def _table(self, name: str, rows: int) -> Any:
        # An initializer gives the same values at each call: every table needs its own.
        initializer = self.initializer.clone()
        return self.add_weight((rows, self.dim), initializer, name=name, autocast=False)

    def _check_length(self, length: int | None) -> None:
        if length is not None and length > self.lengths[0]:
            raise ValueError(
                f"Layer `{self.name}`: a history of {length} positions; expected at most "
                f"{self.lengths[0]}. Keep the newest."
            )

    def _newest_last(self) -> np.ndarray:
        """Rows of the position table, history by history, from the oldest position to 0."""
        starts = np.cumsum((0, *self.lengths[:-1]))
        rows = [
            start + np.arange(length)[::-1]
            for start, length in zip(starts, self.lengths, strict=True)
        ]
        return np.concatenate(rows).astype("int32")
