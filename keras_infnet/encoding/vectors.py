"""Vectors that a user has of raw values, as rows of a feature's embedding table."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from keras_infnet.schema.canonical import id_values
from keras_infnet.schema.vocabulary import Vocabulary


def rows_of_vectors(
    where: str, dtype: str | None, program: Any, vectors: Any, dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `FeatureEncoder.rows_of_vectors`, of the program and dtype of a feature."""
    if dtype is None or not isinstance(program, Vocabulary):
        raise ValueError(
            f"{where}: it has no vocabulary, so that a row is not one value's; expected a "
            "CategoricalFeature without `hash_buckets`."
        )
    keys, rows = _keys_and_rows(where, vectors)
    if rows.shape[1] != dim:
        raise ValueError(
            f"{where}: the vectors have {rows.shape[1]} numbers, and the model's tokens dim={dim}. "
            f"Build the model with dim={rows.shape[1]}, or project the vectors."
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"{where}: {(~np.isfinite(rows)).any(1).sum()} vectors are not finite.")
    values = id_values(keys, dtype, where)
    if len(pc.unique(values)) < len(values):
        raise ValueError(
            f"{where}: {len(values) - len(pc.unique(values))} values come more than once."
        )
    known = np.asarray(pc.is_in(values, value_set=program.known))
    if not known.any():
        raise ValueError(
            f"{where}: none of {len(values)} values, such as {values[0].as_py()!r}, is in the "
            "vocabulary. Give vectors by the raw values of the log."
        )
    if not known.all():
        warnings.warn(
            f"{where}: {(~known).sum()} of {len(known)} values are not in the vocabulary, and are "
            "left out.",
            stacklevel=3,
        )
    return program.numpy(values.filter(known), where), rows[known]


def _keys_and_rows(where: str, vectors: Any) -> tuple[pd.Series, np.ndarray]:
    keys: Any
    found: list[Any]
    if issubclass(type(vectors), Mapping):
        keys, found = list(vectors.keys()), list(vectors.values())
    elif issubclass(type(vectors), (pd.DataFrame, pd.Series)):
        keys, found = vectors.index, list(vectors.to_numpy())
    else:
        raise ValueError(
            f"{where}: found {type(vectors).__name__}; expected a dict, a pandas Series or a "
            "pandas DataFrame, by raw value."
        )
    widths = {np.shape(row) for row in found}
    if len(widths) != 1 or len(min(widths)) != 1:
        shown = sorted(widths)[:3]
        raise ValueError(f"{where}: vectors of shapes {shown}; expected one width for all.")
    return pd.Series(keys), np.array(found, "float32")
