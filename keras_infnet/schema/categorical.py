"""CategoricalFeature: a field of strings or integers, one value or a bag of values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import bad, check_at_least
from keras_infnet.schema.canonical import (
    arrow_type,
    column,
    id_lists,
    id_values,
    list_weights,
    missing_id,
    pad_lists,
)
from keras_infnet.schema.feature import Feature, RawInput
from keras_infnet.schema.programs import Graph, Hash, Program, fit_width
from keras_infnet.schema.value_counts import ValueCounts
from keras_infnet.schema.vocabulary import Vocabulary

# Ids go up to the number of buckets, and tables have one row more.
_MOST_BUCKETS = 2**31 - 2
# The sum of a bag's weights is finite in float32.
_LARGEST_WEIGHT = np.float32(1e30)


@dataclass(frozen=True)
class CategoricalFeature(Feature):
    """A field with one value, or with a bag of up to `max_values` values.

    Ids: 0 is padding and "missing" (`None`, NaN, `""`; `-1` in an integer field), then come
    `oov_buckets` ids for values that the vocabulary does not hold, then the values.

    Args:
        name: Column of the frame, name in requests.
        owner: Whose the field is: `"user"`, `"item"` or `"context"`. Serving computes a user's part
            once.
        dtype: `"string"` or `"int"`. Defaults to `None`: as the log has it.
        table: Name of an earlier feature whose vocabulary and embeddings this one uses. Defaults to
            its own.
        min_frequency: Values seen in fewer training rows are out of vocabulary.
        oov_buckets: Ids for unknown values; with 0 an unknown value is an error in `transform`.
        hash_buckets: For huge fields: no vocabulary, `1 + hash(value) % hash_buckets`.
        max_values: Above 1 the field is a bag; further values are dropped.
        weights: Column with the weights of a bag's values. Defaults to equal weights. A bag is
            embedded as the weighted mean of its values. Weights beyond 1e30 count as that.
        separator: Bags may be strings such as `"3,17"`, cut here. Lists need no separator.

    Raises:
        ValueError: An argument is out of range, or two arguments exclude each other.

    Example:
        >>> keras_infnet.CategoricalFeature("video_id", "item").dtype is None
        True
    """

    dtype: Literal["string", "int"] | None = None
    table: str | None = None
    min_frequency: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    max_values: int = 1
    weights: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in ("string", "int", None):
            raise bad(self, "dtype", self.dtype, '"string" or "int"')
        check_at_least(self, min_frequency=1, oov_buckets=0, max_values=1)
        if self.hash_buckets is not None:
            check_at_least(self, hash_buckets=1)
            for name, default in (("min_frequency", 1), ("oov_buckets", 1)):
                if getattr(self, name) != default:
                    expected = "no such argument: there is no vocabulary with `hash_buckets`"
                    raise bad(self, name, getattr(self, name), expected)
        for name in ("oov_buckets", "hash_buckets"):
            if (getattr(self, name) or 0) > _MOST_BUCKETS:
                expected = f"{_MOST_BUCKETS} or less: ids are int32"
                raise bad(self, name, getattr(self, name), expected)
        if self.separator == "":
            raise bad(self, "separator", "", "one or more characters, or None")
        if not self.is_bag and (self.weights is not None or self.separator is not None):
            raise bad(self, "max_values", 1, "2 or more where `weights` or `separator` is given")

    @property
    def is_bag(self) -> bool:
        """Whether the field holds several values."""
        return self.max_values > 1

    @property
    def packed(self) -> str:  # type: ignore[override]
        return "bags" if self.is_bag else "categorical"

    @property
    def width(self) -> int:
        return self.max_values

    @property
    def declared_dtype(self) -> str | None:
        return self.dtype

    @property
    def has_dtype(self) -> bool:
        return True

    @property
    def last_unknown(self) -> int:
        return 1 if self.hash_buckets is None and self.oov_buckets == 1 else 0

    @property
    def unknown_ids(self) -> int:
        return 0 if self.hash_buckets is not None else self.oov_buckets

    @property
    def is_text(self) -> bool:
        return self.dtype == "string" or self.separator is not None

    @property
    def fixed_size(self) -> int | None:
        return None if self.hash_buckets is None else 1 + self.hash_buckets

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,) if self.weights is None else (self.name, self.weights)

    def values(self, series: pd.Series, dtype: str | None, label: str) -> pa.Array:
        assert dtype is not None
        if self.is_bag:
            return id_lists(series, dtype, self.separator, label)
        return id_values(series, dtype, label)

    def raw_inputs(self, dtype: str | None) -> dict[str, RawInput]:
        shape = (None,) if self.is_bag else ()
        kind = "string" if dtype == "string" else "int64"
        inputs: dict[str, RawInput] = {self.name: (shape, kind)}
        return inputs if self.weights is None else {**inputs, self.weights: (shape, "float32")}

    @property
    def finite_inputs(self) -> tuple[str, ...]:
        return () if self.weights is None else (self.weights,)

    def missing(self, dtype: str | None) -> Any:
        assert dtype is not None
        return missing_id(dtype)

    def counted_type(self, dtype: str | None) -> pa.DataType | None:
        return None if self.hash_buckets is not None or dtype is None else arrow_type(dtype)

    def counted(self, values: pa.Array) -> pa.Array:
        return values.flatten() if self.is_bag else values

    def counted_times(self, values: pa.Array, times: np.ndarray) -> np.ndarray:
        return np.repeat(times, _lengths(values)) if self.is_bag else times

    def learn(self, counts: ValueCounts | None, dtype: str | None) -> Program | None:
        assert dtype is not None
        if self.hash_buckets is not None:
            return Hash(self.hash_buckets, dtype)
        found: Any = [] if counts is None else counts
        return Vocabulary.learn(found, dtype, self.min_frequency, self.oov_buckets)

    def restore(self, arrays: Mapping[str, Any], dtype: str | None) -> Program | None:
        assert dtype is not None
        if self.hash_buckets is not None:
            return Hash(self.hash_buckets, dtype)
        return Vocabulary.restore(arrays, self.oov_buckets, dtype)

    def pack(self, values: pa.Array, program: Program | None, label: str) -> np.ndarray:
        assert program is not None
        if not self.is_bag:
            return program.numpy(values, label)[:, None]
        ids = pa.array(program.numpy(values.values, label))
        return pad_lists(pa.ListArray.from_arrays(values.offsets, ids), self.max_values, 0)

    def pack_graph(self, tf: Any, lookup: Graph | None, raw: Any) -> Any:
        assert lookup is not None
        ids = lookup(raw)
        return fit_width(tf, ids, self.max_values) if self.is_bag else ids[..., None]

    def encode(
        self, frame: pd.DataFrame, program: Program | None, dtype: str | None
    ) -> dict[str, np.ndarray]:
        if not self.is_bag:
            return super().encode(frame, program, dtype)
        values = self.values(column(frame, self.name, self.label), dtype, self.label)
        ids = self.pack(values, program, self.label)
        weights = (ids != 0).astype("float32")
        if self.weights is not None:
            weights = self._weights(frame, values, self.max_values) * (ids != 0)
            weights = np.minimum(weights, _LARGEST_WEIGHT)
        return {"bags": ids, "bag_weights": weights}

    def encode_graph(self, tf: Any, lookup: Graph | None, raw: Mapping[str, Any]) -> dict[str, Any]:
        ids = self.pack_graph(tf, lookup, raw[self.name])
        if not self.is_bag:
            return {"categorical": ids}
        if self.weights is None:
            return {"bags": ids, "bag_weights": tf.cast(ids != 0, "float32")}
        weights = raw[self.weights]
        # A weight that can't be one is 0 in a request; in a frame it is refused.
        weights = tf.where((weights > 0) & tf.math.is_finite(weights), weights, 0.0)
        weights = tf.minimum(weights, _LARGEST_WEIGHT)
        weights = fit_width(tf, weights, self.max_values)
        return {"bags": ids, "bag_weights": tf.where(ids != 0, weights, 0.0)}

    def request(self, frame: pd.DataFrame, dtype: str | None) -> dict[str, np.ndarray]:
        request = super().request(frame, dtype)
        if self.weights is not None:
            values = self.values(frame[self.name], dtype, self.label)
            width = request[self.name].shape[1]
            request[self.weights] = self._weights(frame, values, width)
        return request

    def request_values(self, values: pa.Array, dtype: str | None) -> np.ndarray:
        kind = object if dtype == "string" else "int64"
        if not self.is_bag:
            return np.asarray(values.to_numpy(zero_copy_only=False), kind)
        width = max(1, int(np.diff(np.asarray(values.offsets)).max(initial=0)))
        return pad_lists(values, width, self.missing(dtype)).astype(kind)

    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        known: list[Any] = ["a", "b"] if dtype == "string" else [1, 2]
        if isinstance(program, Vocabulary):
            known = program.known.to_pylist()[:2] or known
        two = np.array(known * 2, object if dtype == "string" else "int64")[:2]
        rows = {self.name: two[:, None] if self.is_bag else two}
        if self.weights is not None:
            rows[self.weights] = np.ones((2, 1), "float32")
        return rows

    def _weights(self, frame: pd.DataFrame, values: pa.Array, width: int) -> np.ndarray:
        label = f"{self.label}, weights `{self.weights}`"
        return list_weights(column(frame, str(self.weights), label), values, width, label)


def _lengths(lists: pa.Array) -> np.ndarray:
    return np.diff(np.asarray(lists.offsets, "int64"))
