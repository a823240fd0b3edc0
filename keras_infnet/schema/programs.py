"""Encoder programs: hashing, buckets, action patterns and group bits, in numpy and as a graph."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._backend.string_hash import hash_buckets
from keras_infnet.schema.canonical import flush, missing_id

Graph = Callable[[Any], Any]
# Values that are encoded at a time: what is made of them stays in the processor's cache.
BLOCK = 1 << 15


class Program(ABC):
    """One step of an encoder, from canonical values to ids: `numpy()` and `graph()` agree.

    Id 0 is padding and "missing".
    """

    @property
    @abstractmethod
    def num_ids(self) -> int:
        """Number of ids, 0 included: the rows of a table."""

    @abstractmethod
    def numpy(self, values: Any, label: str = "") -> np.ndarray:
        """int32 ids of canonical values; `label` says in an error what the values are."""

    @abstractmethod
    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        """A function from a tensor of raw values to int32 ids.

        Args:
            tf: TensorFlow.
            resources: Look-up tables that the function needs are appended here: what holds the
                function must hold them.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, by name, for a file."""
        return {}

    def translation(self, other: "Program", label: str) -> np.ndarray | None:
        """For each id the one that another program has for the same value; `None`: all are equal.

        Args:
            other: What encodes the same column.
            label: What is encoded, for the error message.

        Raises:
            ValueError: The other encodes in another way: its edges, buckets or hash differ.
        """
        mine, its = self.arrays(), other.arrays()
        same = type(self) is type(other) and self.num_ids == other.num_ids and set(mine) == set(its)
        if not (same and all(np.array_equal(mine[name], its[name]) for name in mine)):
            raise ValueError(
                f"{label}: it has other edges, buckets or hashes than when the rows were encoded, "
                "and numbers can't be told from ids again. Use an encoder that was extended, or "
                "prepare the rows again."
            )
        return None

    # Whether rows of a later day may add ids.
    grows: ClassVar[bool] = False

    def extended(self, counts: Any, limits: Any) -> "Program":
        """The program with ids for the values of later rows, which leaves this one as it is.

        All ids keep their values, but those that `limits` free. What does not grow, such as a hash,
        edges or bits, is itself: this one.

        Args:
            counts: `ValueCounts` of the later rows.
            limits: `Limits` of the table.
        """
        return self


class Hash(Program):
    """`1 + hash(value) % buckets`, by TensorFlow's own hash; 0 for a missing value.

    Args:
        buckets: Number of buckets.
        dtype: `"string"` or `"int"`.
    """

    def __init__(self, buckets: int, dtype: str) -> None:
        self.buckets, self.dtype = buckets, dtype

    @property
    def num_ids(self) -> int:
        return 1 + self.buckets

    def numpy(self, values: pa.Array, label: str = "") -> np.ndarray:
        ids = 1 + hash_buckets(values, self.buckets)
        is_missing = np.asarray(pc.equal(values, missing_id(self.dtype)))
        return np.where(is_missing, 0, ids).astype("int32")

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        missing = missing_id(self.dtype)
        return lambda values: tf.where(
            values == missing, 0, 1 + hash_in_graph(tf, values, self.buckets)
        )


class Bucketize(Program):
    """`1 +` number of edges that are not above the value; 0 for NaN and below `lowest`.

    Args:
        edges: Increasing edges, of the dtype of the values.
        lowest: Values below it are unknown. Defaults to `None`: none are.
    """

    def __init__(self, edges: np.ndarray, lowest: float | None = None) -> None:
        self.edges, self.lowest = edges, lowest

    @property
    def num_ids(self) -> int:
        return len(self.edges) + 2

    def numpy(self, values: Any, label: str = "") -> np.ndarray:
        values = np.asarray(values)
        ids = number_not_above(self.edges, values).astype("int32")
        ids += 1
        ids *= self._known(values)
        return ids

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        def ids(values: Any) -> Any:
            edges = tf.constant(self.edges, values.dtype)
            flat = tf.reshape(_flush_in_graph(tf, values), [-1])
            found = tf.reshape(tf.searchsorted(edges, flat, side="right"), tf.shape(values))
            return tf.where(self._known(values), 1 + found, 0)

        return ids

    def arrays(self) -> dict[str, np.ndarray]:
        return {"edges": self.edges}

    def _known(self, values: Any) -> Any:
        # NaN is equal to nothing, in numpy and in TensorFlow.
        return values == values if self.lowest is None else values >= self.lowest


class ActionPattern(Program):
    """The combination of an event's feedbacks, each 0, 1 or unknown, as one id.

    `id = vocabulary(sum_k (a_k + 1) 3^k)`; combinations that training never saw share one id.

    Args:
        vocabulary: Maps the numbers of combinations to ids.
    """

    def __init__(self, vocabulary: Program) -> None:
        self.vocabulary = vocabulary

    @property
    def num_ids(self) -> int:
        return self.vocabulary.num_ids

    @staticmethod
    def codes(actions: Sequence[Any]) -> pa.Array:
        """One number for each combination of feedbacks."""
        values = np.stack([np.asarray(a) for a in actions], axis=1)
        return pa.array((values + 1) @ 3 ** np.arange(len(actions), dtype="int64"))

    def numpy(self, values: Sequence[Any], label: str = "") -> np.ndarray:
        return self.vocabulary.numpy(self.codes(values), label)

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        lookup = self.vocabulary.graph(tf, resources)

        def ids(actions: Sequence[Any]) -> Any:
            values = tf.clip_by_value(tf.stack(actions, axis=-1), -1, 1)
            powers = tf.constant(3 ** np.arange(len(actions)), "int64")
            return lookup(tf.reduce_sum((values + 1) * powers, axis=-1))

        return ids

    def arrays(self) -> dict[str, np.ndarray]:
        return self.vocabulary.arrays()

    grows: ClassVar[bool] = True

    def extended(self, counts: Any, limits: Any) -> "ActionPattern":
        return ActionPattern(self.vocabulary.extended(counts, limits))

    def translation(self, other: Program, label: str) -> np.ndarray | None:
        if not isinstance(other, ActionPattern):
            return super().translation(other, label)
        return self.vocabulary.translation(other.vocabulary, label)


class GroupBits(Program):
    """Bit `g` tells whether an event belongs to group `g`.

    It does if an action of `any_of` is 1 and all actions of `none_of` are known to be 0.

    Args:
        groups: For each group, `any_of` and `none_of` as indices of actions.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
        self.groups = groups

    @property
    def num_ids(self) -> int:
        return 1 << len(self.groups)

    def numpy(self, values: tuple[int, Sequence[Any]], label: str = "") -> np.ndarray:
        rows, actions = values
        known = [np.asarray(a) for a in actions]
        bits = np.zeros(rows, "int32")
        for g, (any_of, none_of) in enumerate(self.groups):
            member = np.ones(rows, bool)
            if any_of:
                member &= np.any([known[i] == 1 for i in any_of], axis=0)
            if none_of:
                member &= np.all([known[i] == 0 for i in none_of], axis=0)
            bits |= member.astype("int32") << g
        return bits

    def graph(self, tf: Any, resources: list[Any]) -> Graph:
        def ids(values: tuple[Any, Sequence[Any]]) -> Any:
            like, actions = values
            bits = tf.zeros(tf.shape(like), "int32")
            for g, (any_of, none_of) in enumerate(self.groups):
                member = tf.ones(tf.shape(like), "bool")
                if any_of:
                    member &= tf.reduce_any([actions[i] >= 1 for i in any_of], axis=0)
                if none_of:
                    member &= tf.reduce_all([actions[i] == 0 for i in none_of], axis=0)
                bits += tf.cast(member, "int32") * (1 << g)
            return bits

        return ids


def number_not_above(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Number of edges that are not above each value, whole numbers of the shape of `values`.

    Args:
        edges: Increasing edges.
        values: Numbers; at NaN the result says nothing.
    """
    if len(edges) > np.iinfo("uint8").max:
        return np.searchsorted(edges, values, side="right")
    # Comparing with each edge costs a tenth of a search, whose branches no processor foresees.
    flat = np.ravel(values)
    found = np.zeros(len(flat), "uint8")
    above = np.empty(min(len(flat), BLOCK), "bool")
    for start in range(0, len(flat), BLOCK):
        some, count = flat[start : start + BLOCK], found[start : start + BLOCK]
        for edge in edges:
            hit = np.greater_equal(some, edge, out=above[: len(some)])
            np.add(count, hit.view("uint8"), out=count)
    return found.reshape(np.shape(values))


def learn_edges(
    values: np.ndarray, buckets: int, bucketing: str, counts: np.ndarray | None = None
) -> np.ndarray:
    """Edges that cut values into at most `buckets` buckets.

    Args:
        values: float32 array, increasing, without NaN.
        buckets: Most buckets wanted.
        bucketing: `"quantile"` or `"log"`.
        counts: How often each value occurs, if all differ. Defaults to as often as it stands there.

    Returns:
        Increasing float32 array of at most `buckets - 1` edges; bucket `k` holds `edges[k-1] <= x <
        edges[k]`.
    """
    if bucketing == "log":
        values = values[values > 0]
    if not len(values):
        return np.zeros(0, "float32")
    if bucketing == "quantile":
        if counts is None:
            values, counts = np.unique(values, return_counts=True)
        edges = _quantile_edges(values, counts, buckets)
    else:
        # The first edge is the smallest positive value: 0 and below keep the lowest bucket to
        # themselves.
        edges = np.geomspace(float(values[0]), float(values[-1]), buckets)[: buckets - 1]
    return np.unique(flush(edges.astype("float32")))


def _quantile_edges(values: np.ndarray, counts: np.ndarray, buckets: int) -> np.ndarray:
    """Edges of buckets of equal counts, but that a frequent value has one of its own.

    Otherwise a column that is 0 in most rows would have one bucket for all that is not.
    """
    if len(values) <= buckets:
        return values[1:]
    common = _common_values(counts, buckets)
    starts: np.ndarray = common | np.append(False, common[:-1])
    found, rarer = starts, np.where(common, 0, counts)
    # A common value may cut the bucket of the rarer ones around it in two.
    for left in range(buckets - int(common.sum()), -1, -1):
        found = starts.copy()
        found[_quantile_places(rarer, left)] = True
        if np.count_nonzero(found[1:]) < buckets:
            break
    # Two buckets of a column that is 0 in most rows: 0 and the rest.
    found[1] |= not found[1:].any()
    return values[1:][found[1:]]


def _common_values(counts: np.ndarray, buckets: int) -> np.ndarray:
    """Whether a value is as frequent as a whole bucket of the others, for the most frequent."""
    order = np.argsort(-counts, kind="stable")[: (buckets - 1) // 2]
    # What is left once the more frequent ones are gone, by the buckets left for it.
    rest = counts.sum() - np.cumsum(counts[order])
    of_a_bucket = rest / (buckets - 1 - np.arange(len(order)))
    common = np.zeros(len(counts), "bool")
    common[order[np.logical_and.accumulate(counts[order] >= of_a_bucket)]] = True
    return common


def _quantile_places(counts: np.ndarray, buckets: int) -> np.ndarray:
    """Places of the values at which the second and later of some equal buckets begin."""
    ends: np.ndarray = np.cumsum(counts)
    if not buckets or not ends[-1]:
        return np.zeros(0, "int64")
    ranks: np.ndarray = np.ceil((ends[-1] - 1) * (np.arange(1, buckets) / buckets))
    return np.searchsorted(ends, ranks, side="right")


def hash_in_graph(tf: Any, values: Any, buckets: int) -> Any:
    """Bucket of each value, from 0, in the graph: as `hash_buckets` gives it."""
    text = values if values.dtype == tf.string else tf.strings.as_string(values)
    return tf.cast(tf.strings.to_hash_bucket_fast(text, buckets), "int32")


def fit_width(tf: Any, values: Any, width: int) -> Any:
    """The first `width` columns of the last axis, filled up with 0."""
    values = values[..., :width]
    padding = [[0, 0]] * (len(values.shape) - 1) + [[0, width - tf.shape(values)[-1]]]
    values = tf.pad(values, padding)
    return tf.ensure_shape(values, values.shape[:-1].concatenate(width))


def _flush_in_graph(tf: Any, values: Any) -> Any:
    """Subnormal numbers as 0, as `flush` does; whole numbers as they are."""
    if not values.dtype.is_floating:
        return values
    return tf.where(tf.abs(values) < np.finfo("float32").tiny, 0.0, values)
