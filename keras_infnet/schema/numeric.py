"""NumericFeature: a number, as itself and by its bucket."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import bad, check_at_least, check_different, check_word, known_names
from keras_infnet.schema.canonical import column, number_values
from keras_infnet.schema.feature import Feature, RawInput
from keras_infnet.schema.number_forms import FORMS, MOST_BUCKETS, NumberProgram
from keras_infnet.schema.programs import Graph, Program, learn_edges
from keras_infnet.schema.value_counts import ValueCounts

ENCODINGS = ("bucket", *FORMS)


@dataclass(frozen=True)
class NumericFeature(Feature):
    """A number, embedded by its bucket and as the number that it is.

    Its token is the sum of what `encoding` names; all is learned from the training rows, no larger
    number ever gives a smaller one, and "missing" (NaN) has an embedding of its own.

    - `"bucket"`: `E[k]`, the embedding of the bucket that holds it: steps;
    - `"value"`: `w z`, `z = (x - median) / spread` with the spread of the quartiles, which grows as
      a logarithm from `|z| = 2` on, up to 12: heavy tails stay in reach;
    - `"normal"`: `w q`, `q` the quantile of the normal distribution at the number's rank;
    - `"ple"`: `sum_j clip(t - j, 0, 1) w_j`, the piecewise-linear encoding over the buckets, `t`
      the number of buckets below the number and the share of its own: slopes.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        buckets: Number of buckets, at most 256; fewer result where there are fewer values.
        bucketing: `"quantile"` (equal counts, but that a value as frequent as a whole bucket, such
            as the 0 of most rows, has one of its own) or `"log"` (equal widths of the logarithm;
            for values that are 0 or more, 0 and below share the lowest bucket).
        allow_missing: Whether NaN is a value of its own. If not, NaN in a frame is an error.
        table: Name of an earlier numeric feature whose edges and weights this one uses.
        encoding: One or more of the names above. Defaults to `("bucket", "value")`.
        token: Name of a token that several numbers share, as the sum of theirs, so that many
            numbers cost an attention model no more than one. Defaults to `None`: a token of its
            own.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> keras_infnet.NumericFeature("duration_ms", "item", buckets=16).bucketing
        'quantile'
        >>> keras_infnet.NumericFeature("ctr", "item", encoding="ple", token="rates").encoding
        ('ple',)

    Reference:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS
        2022, arXiv:2203.05556, equation 1, with the first and the last bin cut at 0 and 1: our
        choice. Spread and bounded tails follow Holzmueller et al., Better by Default, NeurIPS 2024.
    """

    buckets: int = 32
    bucketing: Literal["quantile", "log"] = "quantile"
    allow_missing: bool = False
    table: str | None = None
    encoding: tuple[str, ...] = ("bucket", "value")
    token: str | None = None

    unsaid: ClassVar[dict[str, Any]] = {"encoding": ("bucket",), "token": None}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, buckets=2)
        if self.buckets > MOST_BUCKETS:
            raise bad(self, "buckets", self.buckets, f"at most {MOST_BUCKETS}")
        if self.bucketing not in ("quantile", "log"):
            raise bad(self, "bucketing", self.bucketing, '"quantile" or "log"')
        given = known_names(self, "encoding", self.encoding, ENCODINGS)
        object.__setattr__(self, "encoding", given)
        check_different(self, "encoding")
        # One order, whatever was given: what is equal compares equal.
        object.__setattr__(self, "encoding", tuple(n for n in ENCODINGS if n in given))
        if self.token is not None:
            check_word(self, "token", self.token, "Call it")

    @property
    def number_bins(self) -> tuple[int, ...]:
        return tuple(
            self.buckets if name == "ple" else 0 for name in self.encoding if name != "bucket"
        )

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
        values, number = counts.increasing()
        edges = learn_edges(values, self.buckets, self.bucketing, number)
        return NumberProgram.learn(self.encoding, values, number, edges)

    def restore(self, arrays: Mapping[str, Any], dtype: str | None) -> Program | None:
        return NumberProgram.restore(arrays)

    def pack_numbers(self, values: pa.Array, program: Program | None) -> np.ndarray:
        assert isinstance(program, NumberProgram)
        return program.numbers(values)

    def pack_numbers_graph(self, lookup: Graph | None, raw: Any) -> Any:
        graph: Any = lookup
        return graph.numbers(raw)

    def encode(
        self, frame: pd.DataFrame, program: Program | None, dtype: str | None
    ) -> dict[str, np.ndarray]:
        values = self.values(column(frame, self.name, self.label), dtype, self.label)
        packed = {self.packed: self.pack(values, program, self.label)}
        if self.number_bins:
            packed["numbers"] = self.pack_numbers(values, program)
        return packed

    def encode_graph(self, tf: Any, lookup: Graph | None, raw: Mapping[str, Any]) -> dict[str, Any]:
        packed = {self.packed: self.pack_graph(tf, lookup, raw[self.name])}
        if self.number_bins:
            packed["numbers"] = self.pack_numbers_graph(lookup, raw[self.name])
        return packed

    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        assert isinstance(program, NumberProgram)
        edges = program.buckets.edges
        return {self.name: np.resize(edges if len(edges) else [0], 2).astype("float32")}
