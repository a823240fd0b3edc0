"""DenseFeature: a dense vector, such as a content embedding."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from keras_infnet._base.checks import bad, check_at_least
from keras_infnet.schema.canonical import vectors
from keras_infnet.schema.feature import Feature, RawInput
from keras_infnet.schema.programs import Graph, Program

# Products of a few such numbers, as cross layers make them, are still finite in float32.
LARGEST = 1e6


@dataclass(frozen=True)
class DenseFeature(Feature):
    """A dense vector, such as a content embedding: one list of `dim` floats a row.

    Numbers beyond 1e6 count as 1e6, and below -1e6 as -1e6, so that no model makes infinities of
    them; a frame that holds some gives a warning. A model that computes in float16 also holds the
    numbers of the vector's token within +-8, and cross layers within +-64. In a request a number
    that is not finite counts as 0; in a frame it is refused.

    Args:
        name: Column of the frame, name in requests.
        owner: `"user"`, `"item"` or `"context"`.
        dim: Length of the vector.

    Raises:
        ValueError: `dim` is below 1, or the name is `candidate`.

    Warns:
        UserWarning: In a frame, numbers are beyond 1e6 or below -1e6.

    Example:
        >>> keras_infnet.DenseFeature("image_embedding", "item", dim=128).dim
        128
    """

    dim: int

    packed: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, dim=1)
        if self.name == "candidate":
            expected = "another name, such as 'candidate_vector': models have a layer of this one"
            raise bad(type(self).__name__, "name", self.name, expected)

    @property
    def width(self) -> int:
        return self.dim

    def values(self, series: pd.Series, dtype: str | None, label: str) -> pa.Array:
        return vectors(series, self.dim, label)

    def raw_inputs(self, dtype: str | None) -> dict[str, RawInput]:
        return {self.name: ((self.dim,), "float32")}

    @property
    def finite_inputs(self) -> tuple[str, ...]:
        return (self.name,)

    def missing(self, dtype: str | None) -> Any:
        return np.float32(np.nan)

    def pack(self, values: pa.Array, program: Program | None, label: str) -> np.ndarray:
        rows = np.asarray(values.flatten()).reshape(-1, self.dim)
        clipped = np.clip(rows, -LARGEST, LARGEST)
        beyond = int((rows != clipped).sum())
        if beyond:
            warnings.warn(
                f"{label}: {beyond} of {rows.size} numbers are beyond +-{LARGEST:g}, and count as "
                f"that (the largest is {np.abs(rows).max():g}). Scale the column.",
                stacklevel=2,
            )
        return clipped

    def pack_graph(self, tf: Any, lookup: Graph | None, raw: Any) -> Any:
        return tf.clip_by_value(tf.where(tf.math.is_finite(raw), raw, 0.0), -LARGEST, LARGEST)

    def request_values(self, values: pa.Array, dtype: str | None) -> np.ndarray:
        return np.asarray(values.flatten()).reshape(-1, self.dim)

    def examples(self, program: Program | None, dtype: str | None) -> dict[str, np.ndarray]:
        return {self.name: np.zeros((2, self.dim), "float32")}
