"""Bucket embedding: action, ratio, age and position of an event, as one vector."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.embedding_lookup import embedding_lookup
from keras_infnet.layers.configured_layer import ConfiguredLayer, table_initializer


@keras.saving.register_keras_serializable(package="keras_infnet")
class BucketEmbedding(ConfiguredLayer):
    """Sum of one row for each bucketised quantity of an event, and one for its position.

    `output_l = A[action_l] + R[ratio_l] + D[age_l] + P[position_l]`, for whichever quantities are
    there.

    Args:
        num_buckets: Number of buckets of each quantity, by name.
        dim: Width of a row.
        initializer: Initializer of all tables. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        buckets: Dict of integer tensors `(batch, length)`, one for each name in `num_buckets`. What
            is the same for all rows, such as positions, may be `(1, length)`, but not the first of
            several.

    Returns:
        Float tensor `(batch, length, dim)`; batch is 1 if it is in all `buckets`.

    Raises:
        ValueError: A size is below 1, there is nothing to embed, or a quantity is missing.

    Example:
        >>> embedding = keras_infnet.layers.BucketEmbedding({"age": 23}, dim=4)
        >>> tuple(embedding({"age": keras.ops.array([[0, 5, 2], [1, 1, 0]])}).shape)
        (2, 3, 4)
    """

    def __init__(
        self,
        num_buckets: Mapping[str, int],
        dim: int,
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        num_buckets = dict(num_buckets)
        if not num_buckets or min(dim, *num_buckets.values()) < 1:
            raise ValueError(
                "`num_buckets` must be there, and all sizes 1 or more. "
                f"Received: {num_buckets=}, {dim=}"
            )
        self.num_buckets = num_buckets
        self.dim = dim
        self.initializer = table_initializer(initializer)

    def build(self, buckets_shape: Any = None) -> None:
        # An initializer gives the same values at each call: every table needs its own.
        self.tables = {
            name: self.add_weight(
                (rows, self.dim), self.initializer.clone(), name=f"{name}_table", autocast=False
            )
            for name, rows in self.num_buckets.items()
        }

    def call(self, buckets: Mapping[str, Any]) -> Any:
        missing = sorted(set(self.num_buckets) - set(buckets))
        if missing:
            raise ValueError(
                f"Layer `{self.name}`: `buckets` lacks {missing}; "
                f"expected {list(self.num_buckets)}."
            )
        rows = [embedding_lookup(self.tables[name], buckets[name]) for name in self.num_buckets]
        return ops.cast(sum(rows[1:], rows[0]), self.compute_dtype)

    def compute_output_shape(self, buckets_shape: Mapping[str, tuple]) -> tuple:
        return (*buckets_shape[next(iter(self.num_buckets))], self.dim)
