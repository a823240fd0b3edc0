"""NumericFeature: a number, embedded by its bucket."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import bad, check_at_least
from keras_infnet.schema.canonical import number_values
from keras_infnet.schema.feature import Feature, RawInput
from keras_infnet.schema.programs import Bucketize, Program, learn_edges
from keras_infnet.schema.value_counts import ValueCounts


@dataclass(frozen=True)
class NumericFeature(Feature):
    """A number, embedded by its bucket.

    Id 0 is "missing" (NaN), id `1 + k` the `k`-th bucket; edges are learned from the training rows.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        buckets: Number of buckets; fewer result where quantiles fall together.
        bucketing: `"quantile"` (equal counts) or `"log"` (equal widths of the logarithm; for values
            that are 0 or more, 0 and below share the lowest bucket).
        allow_missing: Whether NaN is a value of its own. If not, NaN in a frame is an error.
        table: Name of an earlier numeric feature whose edges and embeddings this one uses.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.NumericFeature("duration_ms", "item", buckets=16).bucketing
        'quantile'
    """

    buckets: int = 32
    bucketing: Literal["quantile", "log"] = "quantile"
    allow_missing: bool = False
    table: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, buckets=2)
        if self.bucketing not in ("quantile", "log"):
            raise bad(self, "bucketing", self.bucketing, '"quantile" or "log"')

    def values(self, series: pd.Series, dtype: str | None, label: str) -> pa.Array:
        return pa.array(number_values(series, self.allow_missing, label))

    def raw_inputs(self, dtype: str | None) -> dict[str, RawInput]:
        return {self.name: ((), "float32")}

    @property
    def finite_inputs(self) -> tuple[str, ...]:
        return () if self.allow_missing else (self.name,)

    def missing(self, dtype: str | None) -> Any:
        return np.float32(np.nan)

    def counted_type(self, dtype: str | None) -> pa.DataType | None:
        return pa.float32()

    def learn(self, counts: ValueCounts | None, dtype: str | None) -> Program | None:
        assert counts is not None
        table = counts.table()
        values, number = np.asarray(table["value"]), np.asarray(table["count"])
        return Bucketize(learn_edges(values, self.buckets, self.bucketing, number))

    def restore(self, arrays: Mapping[str, Any], dtype: str | None) -> Program | None:
        return Bucketize(arrays["edges"])

    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        assert isinstance(program, Bucketize)
        edges = program.edges
        return {self.name: np.resize(edges if len(edges) else [0], 2).astype("float32")}
