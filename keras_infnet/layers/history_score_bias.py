"""Attention scores that know an event's action, ratio, age and position without its token."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.bucket_embedding import BucketEmbedding


@keras.saving.register_keras_serializable(package="keras_infnet")
class HistoryScoreBias(keras.layers.Layer):
    """One scalar for each (query, bucket), added to attention scores on a history.

    `bias[q, l] = a_q[action_l] + r_q[ratio_l] + d_q[age_l] + p_q[position_l]`, for whichever
    quantities are there: what `ProxyCrossAttention` takes as `score_bias`.

    Args:
        num_queries: Number of queries.
        num_buckets: Number of buckets of each quantity, by name.
        lengths: Lengths of the histories that lie side by side. Defaults to `()`: no positions.
        initializer: Initializer of all scalars. Defaults to `None`: normal with standard
            deviation 0.01.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        buckets: Dict of integer tensors `(batch, length)`, one for each name in `num_buckets`.

    Returns:
        Float tensor `(batch, num_queries, length)`; batch is 1 if there are positions alone.

    Raises:
        ValueError: A size is below 1, there is nothing to embed, or a quantity is missing.

    Example:
        >>> bias = keras_infnet.layers.HistoryScoreBias(num_queries=2, num_buckets={"age": 23})
        >>> tuple(bias({"age": keras.ops.array([[0, 5, 2]])}).shape)
        (1, 2, 3)

    Reference:
        Our choice: the paper's scores depend on tokens alone.
    """

    def __init__(
        self,
        num_queries: int,
        num_buckets: Mapping[str, int],
        lengths: Sequence[int] = (),
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_queries = num_queries
        self.num_buckets = dict(num_buckets)
        self.lengths = tuple(lengths)
        self.scalars = BucketEmbedding(
            num_buckets,
            num_queries,
            lengths,
            initializer,
            dtype=self.dtype_policy,
            name="scalars",
        )

    def build(self, buckets_shape: Any = None) -> None:
        self.scalars.build()

    def call(self, buckets: Mapping[str, Any]) -> Any:
        return ops.swapaxes(self.scalars(buckets), 1, 2)

    def compute_output_shape(self, buckets_shape: Mapping[str, tuple]) -> tuple:
        batch, length, queries = self.scalars.compute_output_shape(buckets_shape)
        return (batch, queries, length)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_queries": self.num_queries,
            "num_buckets": dict(self.num_buckets),
            "lengths": list(self.lengths),
            "initializer": keras.initializers.serialize(self.scalars.initializer),
        }
