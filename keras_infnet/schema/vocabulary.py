"""Vocabulary: the encoder program that looks values up, in numpy and as a graph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._backend.string_hash import hash_buckets
from keras_infnet.schema.canonical import arrow_type, id_values, missing_id
from keras_infnet.schema.programs import Graph, Program, hash_in_graph
from keras_infnet.schema.value_counts import ValueCounts


class Vocabulary(Program):
    """Maps values to ids: 0 is padding and "missing", then `oov_buckets` ids, then the values.

    Args:
        values: Distinct values, all strings or all integers, in the order of their ids.
        oov_buckets: Ids for other values: with 1 they share it, with more a hash of the value
            chooses, with 0 `numpy` refuses them.
        dtype: `"string"` or `"int"`.

    Raises:
        ValueError: A value occurs twice.

    Example:
        >>> vocabulary = keras_infnet.data.Vocabulary(["cat", "dog"])
        >>> vocabulary.numpy(["dog", "", "fish"]).tolist()
        [3, 0, 1]
    """

    def __init__(self, values: Iterable[Any], oov_buckets: int = 1, dtype: str = "string") -> None:
        kind = arrow_type(dtype)
        self.values: Any = _as_array(values, kind)
        self.oov_buckets = oov_buckets
        self.dtype = dtype
        distinct = len(pc.unique(self.values))
        if distinct != len(self.values):
            raise ValueError(
                f"Vocabulary: {len(self.values) - distinct} values occur more than once."
            )

    @classmethod
    def learn(
        cls,
        columns: Iterable[Any] | ValueCounts,
        dtype: str,
        min_frequency: int = 1,
        oov_buckets: int = 1,
    ) -> "Vocabulary":
        """The values of `columns` seen at least `min_frequency` times, most frequent first."""
        if isinstance(columns, ValueCounts):
            counts = columns
        else:
            counts = ValueCounts(arrow_type(dtype))
            for values in columns:
                counts.add(values)
        table = _most_frequent_first(counts, dtype, min_frequency)
        return cls(table["value"].combine_chunks(), oov_buckets, dtype)

    @staticmethod
    def ids_covering(
        shares: Sequence[float],
        counts: ValueCounts,
        dtype: str,
        min_frequency: int,
        oov_buckets: int,
    ) -> list[int]:
        """How many of the first ids cover each share of what the vocabulary holds of `counts`.

        The ids of missing and unknown values come first, and are among them.
        """
        table = _most_frequent_first(counts, dtype, min_frequency)
        covered = np.cumsum(np.asarray(table["count"], "int64"))
        # A share times a number is rounded.
        targets = np.array(shares) * (covered[-1] if len(covered) else 0) - 1e-6
        values = np.minimum(np.searchsorted(covered, targets) + 1, len(covered))
        return (1 + oov_buckets + values).tolist()

    @property
    def num_ids(self) -> int:
        """Number of ids: padding, out-of-vocabulary buckets and values."""
        return 1 + self.oov_buckets + len(self.values)

    def numpy(self, values: Any, label: str = "Vocabulary") -> np.ndarray:
        """Ids of canonical values (missing ones are -1 or the empty string).

        Args:
            values: Array of any shape, or an Arrow array.
            label: What the values are, for the error message.

        Returns:
            int32 array of the shape of `values`.

        Raises:
            ValueError: A value is unknown and `oov_buckets` is 0.
        """
        shape = (len(values),) if isinstance(values, pa.Array) else np.shape(values)
        if not isinstance(values, pa.Array):
            flat = np.asarray(values, dtype=object if self.dtype == "string" else None).ravel()
            values = id_values(pd.Series(flat), self.dtype, label)
        index = pc.index_in(values, value_set=self.values)
        ids = np.asarray(pc.fill_null(index, -1)).astype("int32") + np.int32(1 + self.oov_buckets)
        missing = np.asarray(pc.equal(values, missing_id(self.dtype)))
        unknown = (ids == self.oov_buckets) & ~missing
        if unknown.any():
            ids[unknown] = self._out_of_vocabulary(values.filter(pa.array(unknown)), label)
        ids[missing] = 0
        return ids.reshape(shape)

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        keys = self.values.to_numpy(zero_copy_only=False)
        dtype = tf.string if self.dtype == "string" else tf.int64
        ids = np.arange(len(keys), dtype="int64") + 1 + self.oov_buckets
        # Negative: a hash chooses the bucket. Without buckets an unknown value is served like a
        # missing one.
        default = -1 if self.oov_buckets > 1 else self.oov_buckets
        if not len(keys):
            # TensorFlow has no table without a key: "missing", whose id is 0 in any case.
            keys, ids = np.array([missing_id(self.dtype)], object), np.zeros(1, "int64")
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(keys, dtype, shape=(len(keys),)), tf.constant(ids), dtype, tf.int64
        )
        table = tf.lookup.StaticHashTable(initializer, default)
        resources.append(table)

        def lookup(values: Any) -> Any:
            found = tf.cast(table.lookup(values), "int32")
            if self.oov_buckets > 1:
                hashed = 1 + hash_in_graph(tf, values, self.oov_buckets)
                found = tf.where(found < 0, hashed, found)
            return tf.where(values == missing_id(self.dtype), 0, found)

        return lookup

    def arrays(self) -> dict[str, np.ndarray]:
        return {"values": self.values.to_numpy(zero_copy_only=False)}

    @classmethod
    def restore(
        cls, arrays: Mapping[str, Any], oov_buckets: int = 1, dtype: str = "int"
    ) -> "Vocabulary":
        """The vocabulary whose `arrays()` these are."""
        return cls(arrays["values"], oov_buckets, dtype)

    def _out_of_vocabulary(self, values: pa.Array, label: str) -> np.ndarray:
        if self.oov_buckets == 0:
            some = pc.unique(values)
            raise ValueError(
                f"{label}: {len(some)} values are not in the vocabulary "
                f"({', '.join(str(v) for v in some[:3].to_pylist())}) and `oov_buckets=0`. Set "
                "oov_buckets=1, or fit the encoder on rows that have them."
            )
        if self.oov_buckets == 1:
            return np.ones(len(values), "int32")
        return 1 + hash_buckets(values, self.oov_buckets)


def _most_frequent_first(counts: ValueCounts, dtype: str, min_frequency: int) -> Any:
    """Columns `value` and `count` of the values that a vocabulary holds, in the order of ids."""
    table: Any = counts.table()
    table = table.filter(
        pc.and_(
            pc.greater_equal(table["count"], min_frequency),
            pc.not_equal(table["value"], missing_id(dtype)),
        )
    )
    return table.sort_by([("count", "descending"), ("value", "ascending")])


def _as_array(values: Any, kind: pa.DataType) -> Any:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)
