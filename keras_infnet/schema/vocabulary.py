"""Vocabulary: the encoder program that looks values up, in numpy and as a graph."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._backend.string_hash import hash_buckets
from keras_infnet.schema.canonical import arrow_type, id_values, missing_id
from keras_infnet.schema.instants import MISSING_TIME
from keras_infnet.schema.limits import Limits
from keras_infnet.schema.programs import Graph, Program, hash_in_graph
from keras_infnet.schema.value_counts import ValueCounts

# Name of the array of times, which say nothing of ids.
LAST_SEEN = "last_seen"


class Vocabulary(Program):
    """Maps values to ids: 0 is padding and "missing", then `oov_buckets` ids, then the values.

    Args:
        values: Distinct values, all strings or all integers, in the order of their ids.
            A place that was freed holds "missing": its id is no value's.
        oov_buckets: Ids for other values: with 1 they share it, with more a hash of the value
            chooses, with 0 `numpy` refuses them.
        dtype: `"string"` or `"int"`.
        last_seen: int64 `(values,)`, milliseconds: when each value was seen last, the least int64
            where it is unknown. Defaults to `None`: no time is known.

    Raises:
        ValueError: A value occurs twice.

    Example:
        >>> vocabulary = keras_infnet.data.Vocabulary(["cat", "dog"])
        >>> vocabulary.numpy(["dog", "", "fish"]).tolist()
        [3, 0, 1]
    """

    grows: ClassVar[bool] = True

    def __init__(
        self,
        values: Iterable[Any],
        oov_buckets: int = 1,
        dtype: str = "string",
        last_seen: np.ndarray | None = None,
    ) -> None:
        kind = arrow_type(dtype)
        self.values: Any = _as_array(values, kind)
        self.oov_buckets = oov_buckets
        self.dtype = dtype
        self.last_seen = last_seen
        there = self.known
        distinct = len(pc.unique(there))
        if distinct != len(there):
            raise ValueError(f"Vocabulary: {len(there) - distinct} values occur more than once.")

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
        table: Any = counts.table()
        table = table.filter(
            pc.and_(
                pc.greater_equal(table["count"], min_frequency),
                pc.not_equal(table["value"], missing_id(dtype)),
            )
        )
        table = table.sort_by([("count", "descending"), ("value", "ascending")])
        last = np.asarray(table["last"]) if counts.timed else None
        return cls(table["value"].combine_chunks(), oov_buckets, dtype, last)

    def extended(self, counts: ValueCounts, limits: Limits) -> "Vocabulary":
        """With the values that it lacks, most frequent first: in free places, then behind.

        Args:
            counts: Of later rows; each call counts its own.
            limits: Which values get an id, and keep theirs.
        """
        table: Any = counts.table()
        table = table.filter(pc.not_equal(table["value"], missing_id(self.dtype)))
        table = table.sort_by([("count", "descending"), ("value", "ascending")]).combine_chunks()
        found = pc.fill_null(pc.index_in(table["value"], value_set=self.values), -1)
        places, number = np.asarray(found), np.asarray(table["count"])
        is_known, is_new = places >= 0, (places < 0) & (number >= limits.min_frequency)
        counted = np.zeros(len(self.values), "int64")
        counted[places[is_known]] = number[is_known]
        last, last_of_new = self.last_seen, np.zeros(0, "int64")
        if not counts.timed:
            last = None
        if last is not None:
            times = np.asarray(table["last"])
            last, last_of_new = last.copy(), times[is_new]
            np.maximum.at(last, places[is_known], times[is_known])
        alive = np.flatnonzero(~self.free)
        chosen = limits.chosen(
            None if last is None else np.append(last[alive], last_of_new),
            np.append(counted[alive], number[is_new]),
        )
        kept, added = alive[chosen[: len(alive)]], np.flatnonzero(chosen[len(alive) :])
        return self._with(kept, table["value"].filter(pa.array(is_new)), added, last, last_of_new)

    def _with(
        self, kept: np.ndarray, new: Any, added: np.ndarray, last: Any, last_of_new: np.ndarray
    ) -> "Vocabulary":
        """Places `kept`, and of the values `new` those at `added`."""
        old = len(self.values)
        free = np.setdiff1d(np.arange(old), kept)
        into = np.append(free, np.arange(old, old + len(added)))[: len(added)]
        size = old + max(0, len(added) - len(free))
        nothing = pa.array([missing_id(self.dtype)], self.values.type)
        parts: list[Any] = [self.values, *new.chunks, nothing]
        source = np.full(size, old + len(new))
        source[kept], source[into] = kept, old + added
        times = None
        if last is not None:
            times = np.full(size, MISSING_TIME)
            times[kept], times[into] = last[kept], last_of_new[added]
        values = pa.concat_arrays(parts).take(pa.array(source))
        return Vocabulary(values, self.oov_buckets, self.dtype, times)

    @property
    def free(self) -> np.ndarray:
        """Which places are no value's, bool `(values,)`."""
        return np.asarray(pc.equal(self.values, missing_id(self.dtype)))

    @property
    def known(self) -> Any:
        """The values that have an id, in the order of their ids."""
        free = self.free
        return self.values.filter(pa.array(~free)) if free.any() else self.values

    def renewed(self, before: "Vocabulary") -> np.ndarray:
        """Ids of `before` whose value is another here, or none any more."""
        same = pc.equal(self.values[: len(before.values)], before.values)
        return np.flatnonzero(~np.asarray(same)) + 1 + self.oov_buckets

    def translation(self, other: Program, label: str) -> np.ndarray | None:
        like = isinstance(other, Vocabulary) and (other.dtype, other.oov_buckets)
        if not isinstance(other, Vocabulary) or like != (self.dtype, self.oov_buckets):
            raise ValueError(
                f"{label}: its values are of dtype {self.dtype} with {self.oov_buckets} ids for "
                "others, and those of the other encoder are not. Prepare the rows again."
            )
        ids = np.arange(self.num_ids, dtype="int32")
        ids[1 + self.oov_buckets :] = other.numpy(self.values, label)
        return None if np.array_equal(ids, np.arange(self.num_ids)) else ids

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
        keys = self.known.to_numpy(zero_copy_only=False)
        dtype = tf.string if self.dtype == "string" else tf.int64
        ids = np.flatnonzero(~self.free).astype("int64") + 1 + self.oov_buckets
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
        found = {"values": self.values.to_numpy(zero_copy_only=False)}
        return found if self.last_seen is None else found | {LAST_SEEN: self.last_seen}

    @classmethod
    def restore(
        cls, arrays: Mapping[str, Any], oov_buckets: int = 1, dtype: str = "int"
    ) -> "Vocabulary":
        """The vocabulary whose `arrays()` these are."""
        return cls(arrays["values"], oov_buckets, dtype, arrays.get(LAST_SEEN))

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


def _as_array(values: Any, kind: pa.DataType) -> Any:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)
