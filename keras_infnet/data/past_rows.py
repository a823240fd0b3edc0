"""Past rows of some keys, sorted by keys and time, so that a row's past is one slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet.schema.canonical import column, id_values, infer_dtype, missing_id


@dataclass(frozen=True, eq=False)
class KeyColumn:
    """The distinct values of a column of keys, and the code of each row.

    Args:
        name: Name of the column.
        dtype: `"string"` or `"int"`; `None` where no value is known.
        values: Distinct values; a code is a place among them.
        codes: int64 `(past rows,)`; -1 where the key is missing.
    """

    name: str
    dtype: str | None
    values: pa.Array
    codes: np.ndarray

    @classmethod
    def of(cls, name: str, dtype: str | None, values: pa.Array) -> "KeyColumn":
        """The column of canonical values."""
        if dtype is None:
            return cls(name, None, values[:0].cast(pa.int64()), np.full(len(values), -1))
        encoded = values.dictionary_encode()
        codes = np.asarray(encoded.indices).astype("int64")
        missing = pc.index(encoded.dictionary, missing_id(dtype)).as_py()
        return cls(name, dtype, encoded.dictionary, np.where(codes == missing, -1, codes))

    def find(self, values: pa.Array) -> np.ndarray:
        """Codes of other canonical values; -1 for what is missing or unknown."""
        if self.dtype is None:
            return np.full(len(values), -1)
        found = pc.fill_null(pc.index_in(values, self.values), -1)
        missing = pc.equal(values, missing_id(self.dtype))
        return np.where(np.asarray(missing), -1, np.asarray(found)).astype("int64")


class PastGroup:
    """Rows that agree in some columns of keys, in the order of time.

    Args:
        columns: The columns.
        moments: The distinct times of past rows, increasing.
        ranks: Place of each past row's time among them.

    Attributes:
        order: The past rows with all keys, sorted by keys and time.
        places: int64, `code * len(moments) + rank` of each of them, which increases.
    """

    def __init__(
        self, columns: Sequence[KeyColumn], moments: np.ndarray, ranks: np.ndarray
    ) -> None:
        self.columns, self.moments = tuple(columns), moments
        # Of each further column the pairs with the codes so far, of which a code is the place.
        self._pairs: list[np.ndarray] = []
        codes = columns[0].codes
        for other in columns[1:]:
            pairs = _paired(codes, other.codes, len(other.values))
            known, inverse = np.unique(pairs, return_inverse=True)
            nobody = int(len(known) > 0 and known[0] < 0)
            self._pairs.append(known[nobody:])
            codes = inverse - nobody
        places = codes * max(1, len(moments)) + ranks
        order = np.argsort(places)
        self.order = order[np.searchsorted(places[order], 0) :] if (codes < 0).any() else order
        self.places = places[self.order]

    @property
    def codes(self) -> np.ndarray:
        """Code of the keys of each past row."""
        return self.places // max(1, len(self.moments))

    @property
    def times(self) -> np.ndarray:
        """Milliseconds of each past row."""
        return self.moments[self.places % max(1, len(self.moments))]

    def find(self, of_columns: Sequence[np.ndarray]) -> np.ndarray:
        """Codes of keys, of which each column's codes are given; -1 for those without a past."""
        codes = of_columns[0]
        for known, key, more in zip(self._pairs, self.columns[1:], of_columns[1:], strict=True):
            pairs = _paired(codes, more, len(key.values))
            places = np.searchsorted(known, pairs)
            inside = places < len(known)
            inside[inside] = known[places[inside]] == pairs[inside]
            codes = np.where(inside & (pairs >= 0), places, -1)
        return codes

    def first(self, codes: np.ndarray, ranks: np.ndarray | int) -> np.ndarray:
        """The first past row of each code whose time's rank is no lower; 0 for code -1."""
        sought = np.maximum(codes, 0) * max(1, len(self.moments)) + ranks
        return np.where(codes < 0, 0, np.searchsorted(self.places, sought))

    def keys(self, codes: np.ndarray) -> dict[str, pa.Array]:
        """Values of the keys that codes stand for, by column."""
        found: dict[str, pa.Array] = {}
        for known, key in zip(self._pairs[::-1], self.columns[:0:-1], strict=True):
            codes, of_column = np.divmod(known[codes], max(1, len(key.values)))
            found[key.name] = key.values.take(pa.array(of_column))
        found[self.columns[0].name] = self.columns[0].values.take(pa.array(codes))
        return dict(reversed(found.items()))


def _paired(codes: np.ndarray, more: np.ndarray, number: int) -> np.ndarray:
    """One number for each pair of codes; -1 where one of them is."""
    return np.where((codes < 0) | (more < 0), -1, codes * max(1, number) + more)


def read_keys(frame: pd.DataFrame, name: str, dtype: str | None, label: str) -> pa.Array:
    """Canonical values of a column of keys; without a dtype none is known."""
    series = column(frame, name, label)
    return pa.nulls(len(series)) if dtype is None else id_values(series, dtype, label)


def key_dtype(frames: Sequence[pd.DataFrame], name: str, label: str) -> str | None:
    """`"string"` or `"int"`, as the first values tell; `None` without any."""
    found = (infer_dtype(column(frame, name, label), label) for frame in frames)
    return next((dtype for dtype in found if dtype is not None), None)
