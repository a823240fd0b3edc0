"""Pairs of ids of one feature and values of another that stand in the same rows."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from keras_infnet.schema.canonical import column, missing_id
from keras_infnet.schema.feature import Feature


def values_beside(
    encoder: Any, feature: str, field: str, frame: pd.DataFrame, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """As `FeatureEncoder.values_beside`."""
    schema = encoder.schema
    of_feature, of_field = schema.feature(feature), schema.feature(field)
    for asked in (of_feature, of_field):
        if not asked.has_dtype:
            raise ValueError(
                f"{what}: feature `{asked.name}` holds numbers; expected a CategoricalFeature, "
                "whose values rows may share."
            )
    label = f"{what}, feature `{feature}`"
    values, places = _flat(of_feature, schema.dtype_of(feature), frame, what)
    ids = encoder.programs[schema.table_of(feature)].numpy(values, label)
    known = ids > schema.feature(schema.table_of(feature)).unknown_ids
    left = pd.DataFrame({"row": places[known], "id": ids[known]})
    dtype = schema.dtype_of(field)
    values, places = _flat(of_field, dtype, frame, what)
    there = np.asarray(pc.not_equal(values, missing_id(dtype)))
    codes = np.asarray(pc.dictionary_encode(values).indices)
    right = pd.DataFrame({"row": places[there], "code": codes[there]})
    pairs = left.merge(right, on="row")[["id", "code"]].drop_duplicates()
    return pairs["id"].to_numpy(), pairs["code"].to_numpy()


def _flat(feature: Feature, dtype: str | None, frame: pd.DataFrame, what: str) -> tuple[Any, Any]:
    """Canonical values, one below the other, and the row of each."""
    label = f"{what}, feature `{feature.name}`"
    values = feature.values(column(frame, feature.name, label), dtype, label)
    rows = np.arange(len(frame))
    return feature.counted(values), feature.counted_times(values, rows)
