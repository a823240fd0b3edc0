"""Feature: the base of all columns that are a model's inputs, from raw values to packed ids."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import RENAME, bad, check_name, check_word
from keras_infnet.schema.canonical import column
from keras_infnet.schema.kinds import Kind
from keras_infnet.schema.programs import Graph, Program
from keras_infnet.schema.value_counts import ValueCounts

Owner = Literal["user", "item", "context"]
OWNERS: tuple[Owner, ...] = ("user", "item", "context")

# The packed inputs of a model that hold features, with their dtypes.
PACKED = {
    "categorical": "int32",
    "numbers": "float32",
    "bags": "int32",
    "bag_weights": "float32",
    "dense": "float32",
}
RawInput = tuple[tuple[int | None, ...], str]


@dataclass(frozen=True)
class Feature(Kind, ABC):
    """A column of the log that describes a user, an item or the context.

    A kind of column is a class derived from this one: it says how raw values become canonical, what
    is counted of them and learned from the counts, and how they are encoded, in numpy and as a
    graph. Everything else asks it.

    Args:
        name: Column of the frame, name in requests.
        owner: Whose it is: `"user"`, `"item"` or `"context"`. Serving computes a user's part once.
    """

    name: str
    owner: Owner

    # The packed input that holds the feature's columns.
    packed: ClassVar[str] = "categorical"
    # Whether `rank` computes it from all candidates of a request, a `RelativeFeature`.
    of_list: ClassVar[bool] = False
    # In which unit a request holds its values, where they have one.
    unit: ClassVar[str | None] = None
    # Its packed columns by which a day is compared with the days before.
    compared_columns: ClassVar[slice] = slice(None)

    def __post_init__(self) -> None:
        check_name(self)
        for name in self.columns:
            check_word(self, "column", name, RENAME, taken=("exponents", "k"))
        if self.owner not in OWNERS:
            raise bad(self, "owner", self.owner, f"one of {OWNERS}")

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"Feature `{self.name}`"

    @property
    def width(self) -> int:
        """Columns in the packed input, and in a history whose events have the feature."""
        return 1

    @property
    def shared_table(self) -> str | None:
        """Name of the earlier feature whose table embeds this one; `None`: it has its own."""
        return getattr(self, "table", None)

    @property
    def number_bins(self) -> tuple[int, ...]:
        """One entry a column in the packed input `numbers`: its bins, or 0 for a number as it is.

        A column of `n` bins holds a place `t` among them, from 0 to `n`.
        """
        return ()

    @property
    def token_name(self) -> str:
        """Name of its token, which several may share."""
        return getattr(self, "token", None) or self.name

    @property
    def is_embedded(self) -> bool:
        """Whether the packed columns are ids of a table."""
        return self.packed != "dense"

    @property
    def declared_dtype(self) -> str | None:
        """`"string"` or `"int"`, if the values are identifiers and it is declared which."""
        return None

    @property
    def has_dtype(self) -> bool:
        """Whether the values are identifiers, strings or integers, of which a log tells which."""
        return False

    @property
    def last_unknown(self) -> int:
        """Ids up to this one stand for "missing", or for all values that no vocabulary holds."""
        return 0

    @property
    def unknown_ids(self) -> int:
        """Number of ids, from 1 on, that stand for values which no vocabulary holds."""
        return 0

    @property
    def is_text(self) -> bool:
        """Whether the column is text even where all its values look like numbers."""
        return False

    @property
    def fixed_size(self) -> int | None:
        """Number of ids where it does not depend on a log."""
        return None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a frame of rows must have."""
        return (self.name,)

    @property
    def log_columns(self) -> tuple[str, ...]:
        """Columns that a log must have."""
        return self.columns

    def check_in(self, schema: Any) -> None:  # noqa: B027
        """A ValueError if the feature can't be one of this schema."""
        return

    @abstractmethod
    def values(self, series: pd.Series, dtype: str | None, label: str) -> pa.Array:
        """Canonical values of a column, one a row.

        Raises:
            ValueError: The column holds what it must not.
        """

    def listed(self, values: pa.Array) -> pa.Array:
        """Canonical values as list columns have them, which `values` reads again."""
        return values

    @abstractmethod
    def raw_inputs(self, dtype: str | None) -> dict[str, RawInput]:
        """Shape without batch (`None`: any length) and dtype of a request's inputs, by name."""

    @property
    def finite_inputs(self) -> tuple[str, ...]:
        """Inputs of a request whose numbers must all be finite: there is no missing value."""
        return ()

    @abstractmethod
    def missing(self, dtype: str | None) -> Any:
        """What stands for "missing" in a request, as a numpy scalar or a Python value."""

    def counted_type(self, dtype: str | None) -> pa.DataType | None:
        """Type of the values that are counted to learn from; `None`: nothing is learned."""
        return None

    def counted(self, values: pa.Array) -> pa.Array:
        """What is counted of canonical values, flat."""
        return values

    def counted_times(self, values: pa.Array, times: np.ndarray) -> np.ndarray:
        """The times of rows, once for each of `counted(values)`."""
        return times

    def learn(self, counts: ValueCounts | None, dtype: str | None) -> Program | None:
        """The program that encodes canonical values; `None` where nothing is looked up."""
        return None

    def ids_covering(
        self, shares: Sequence[float], counts: ValueCounts | None, dtype: str | None
    ) -> list[int]:
        """How many of the first ids cover each share of the values; empty: ids have no order."""
        return []

    def restore(self, arrays: Mapping[str, Any], dtype: str | None) -> Program | None:
        """The program whose `arrays()` a file has kept."""
        return None

    def pack(self, values: pa.Array, program: Program | None, label: str) -> np.ndarray:
        """Packed columns of canonical values, `(rows, width)`."""
        assert program is not None
        return program.numpy(values, label)[:, None]

    def pack_graph(self, tf: Any, lookup: Graph | None, raw: Any) -> Any:
        """Packed columns of raw tensors `(...)` (a bag: `(..., values)`), as `(..., width)`."""
        assert lookup is not None
        return lookup(raw)[..., None]

    def pack_numbers(self, values: pa.Array, program: Program | None) -> np.ndarray:
        """float32 columns of canonical values for `numbers`, one for each of `number_bins`."""
        raise NotImplementedError

    def pack_numbers_graph(self, lookup: Graph | None, raw: Any) -> Any:
        """Columns of raw tensors `(...)` for `numbers`, `(..., number_bins)`."""
        raise NotImplementedError

    def encode(
        self, frame: pd.DataFrame, program: Program | None, dtype: str | None
    ) -> dict[str, np.ndarray]:
        """Columns `(rows, width)` of a frame by packed input."""
        values = self.values(column(frame, self.name, self.label), dtype, self.label)
        return {self.packed: self.pack(values, program, self.label)}

    def encode_graph(self, tf: Any, lookup: Graph | None, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Columns `(batch, width)` of a request's tensors by packed input."""
        return {self.packed: self.pack_graph(tf, lookup, raw[self.name])}

    def request(self, frame: pd.DataFrame, dtype: str | None) -> dict[str, np.ndarray]:
        """A frame's rows as inputs of a request, by the names of `raw_inputs()`."""
        values = self.values(column(frame, self.name, self.label), dtype, self.label)
        return {self.name: self.request_values(values, dtype)}

    def request_values(self, values: pa.Array, dtype: str | None) -> np.ndarray:
        """Canonical values as a request has them: `(rows,)`, of a bag `(rows, longest)`."""
        return np.asarray(values)

    def sent(self, values: np.ndarray, label: str) -> np.ndarray:
        """A client's typed values, of any shape, as the exported model takes them.

        Raises:
            ValueError: They are not what they should be.
        """
        return values

    @abstractmethod
    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        """Two rows of known values, for an example request."""
