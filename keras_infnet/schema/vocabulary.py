"""The values of a field that have an id of their own."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._backend.string_hash import hash_buckets
from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING
from keras_infnet.schema.value_counts import ValueCounts


class Vocabulary:
    """Maps values to ids: 0 is padding and "missing", then `oov_buckets` ids, then the values.

    Args:
        values: Distinct values, all strings or all integers, in the order of their ids.
        oov_buckets: Ids for other values: with 1 they share it, with more a hash of the value
            chooses, with 0 `lookup` refuses them.
        dtype: `"string"` or `"int"`.

    Raises:
        ValueError: A value occurs twice.

    Example:
        >>> vocabulary = keras_infnet.data.Vocabulary(["cat", "dog"])
        >>> vocabulary.lookup(["dog", "", "fish"]).tolist()
        [3, 0, 1]
    """

    def __init__(self, values: Iterable[Any], oov_buckets: int = 1, dtype: str = "string") -> None:
        kind = pa.string() if dtype == "string" else pa.int64()
        self.values = values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)
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
        columns: Iterable[pa.Array] | ValueCounts,
        dtype: str,
        min_frequency: int = 1,
        oov_buckets: int = 1,
    ) -> "Vocabulary":
        """The values of `columns` seen at least `min_frequency` times, most frequent first."""
        counts = columns
        if not isinstance(columns, ValueCounts):
            counts = ValueCounts(pa.string() if dtype == "string" else pa.int64())
            for values in columns:
                counts.add(values)
        table = counts.table()
        missing = MISSING_STRING if dtype == "string" else MISSING_INT
        table = table.filter(
            pc.and_(
                pc.greater_equal(table["count"], min_frequency),
                pc.not_equal(table["value"], missing),
            )
        )
        table = table.sort_by([("count", "descending"), ("value", "ascending")])
        return cls(table["value"].combine_chunks(), oov_buckets, dtype)

    @property
    def num_ids(self) -> int:
        """Number of ids: padding, out-of-vocabulary buckets and values."""
        return 1 + self.oov_buckets + len(self.values)

    def lookup(self, values: Any, label: str = "Vocabulary") -> np.ndarray:
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
            flat = np.asarray(values, dtype=object if self.dtype == "string" else "int64").ravel()
            values = pa.array(flat, self.values.type)
        index = pc.index_in(values, value_set=self.values)
        ids = np.asarray(pc.fill_null(index, -1)).astype("int32") + np.int32(1 + self.oov_buckets)
        missing = pc.equal(values, MISSING_STRING if self.dtype == "string" else MISSING_INT)
        missing = np.asarray(missing)
        unknown = (ids == self.oov_buckets) & ~missing
        if unknown.any():
            ids[unknown] = self._out_of_vocabulary(values.filter(pa.array(unknown)), label)
        ids[missing] = 0
        return ids.reshape(shape)

    def _out_of_vocabulary(self, values: pa.Array, label: str) -> np.ndarray:
        if self.oov_buckets == 0:
            some = pc.unique(values)
            raise ValueError(
                f"{label}: {len(some)} values are not in the vocabulary "
                f"({', '.join(str(v) for v in some[:3].to_pylist())}) and `oov_buckets=0`. Set "
                f"oov_buckets=1, or "
                "fit the encoder on rows that have them."
            )
        if self.oov_buckets == 1:
            return np.ones(len(values), "int32")
        return 1 + hash_buckets(values, self.oov_buckets)
