"""Rows of a frame as a raw request: what the exported model is fed."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.feature import OWNERS, Feature
from keras_infnet.schema.history import History
from keras_infnet.schema.numeric import NumericFeature

from keras_infnet.encoding.events import event_ratios, list_events
from keras_infnet.schema import canonical as raw
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.schema import FeatureSchema


def frame_to_request(schema: FeatureSchema, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Arrays by the names of `schema.raw_inputs()`, one row of the frame a row of the request.

    Args:
        schema: The schema.
        frame: Rows with the feature columns, and each history as list columns (`Histories.attach`
            adds them).

    Returns:
        Arrays `(rows, ...)`; histories and bags are padded on the right to the longest.

    Raises:
        ValueError: A column is missing or holds what its feature does not allow.
    """
    raw.require_rows(frame, "frame_to_request")
    return owned_request(schema, frame, OWNERS)


def owned_request(
    schema: FeatureSchema, frame: pd.DataFrame, owners: Collection[str]
) -> dict[str, np.ndarray]:
    """`frame_to_request` of the features of some owners; histories are the user's."""
    request: dict[str, np.ndarray] = {}
    for feature in (f for f in schema.features if f.owner in owners):
        request[feature.name] = _values(frame, feature, f"Feature `{feature.name}`")
        if getattr(feature, "weights", None):
            lists = pa.array(frame[feature.weights], pa.list_(pa.float32()), from_pandas=True)
            width = request[feature.name].shape[1]
            request[feature.weights] = _pad(lists, width, np.float32(0)).astype("float32")
    for sequence in schema.histories if "user" in owners else ():
        request |= _history(schema, sequence, frame)
    return request


def _history(
    schema: FeatureSchema, sequence: History, frame: pd.DataFrame
) -> dict[str, np.ndarray]:
    events, offsets = list_events(schema, sequence, frame)
    width = max(1, int(np.diff(offsets).max()))
    index = offsets[:-1, None] + np.arange(width)
    inside = index < offsets[1:, None]

    def padded(values: np.ndarray, fill: Any) -> np.ndarray:
        out = np.full(inside.shape + values.shape[1:], fill, values.dtype)
        out[inside] = values
        return out

    name, request = sequence.name, {}
    for field in sequence.fields:
        feature = schema.feature(field)
        values = _values(events, feature, f"Column `{name}_{field}`")
        request[f"{name}_{field}"] = padded(values, _missing(feature))
    for action in sequence.actions:
        label = f"Column `{name}_{action}`"
        request[f"{name}_{action}"] = padded(raw.actions(events[action], label), raw.MISSING_INT)
    if sequence.ratio:
        values = event_ratios(sequence, events, False)
        request[f"{name}_ratio"] = padded(values, np.float32(np.nan))
    if sequence.ages:
        key = f"{name}_age_seconds"
        values = np.asarray(raw.categorical_values(events[key], "int", f"Column `{key}`"))
        request[key] = padded(values, raw.MISSING_INT)
    return request


def _values(frame: pd.DataFrame, feature: Feature, label: str) -> np.ndarray:
    if len(frame) == 0:
        width = (1,) if getattr(feature, "is_bag", False) else ()
        return np.full(
            (0, *width), _missing(feature), np.asarray(_missing(feature), _dtype(feature)).dtype
        )
    series = raw.column(frame, feature.name, label)
    if isinstance(feature, DenseFeature):
        return raw.vectors(series, feature, label)
    if isinstance(feature, NumericFeature):
        return raw.numbers(series, feature, label)
    if not feature.is_bag:
        values = raw.categorical_values(series, feature.dtype, label)
        return np.asarray(values.to_numpy(zero_copy_only=False), _dtype(feature))
    lists = raw.bag_values(series, feature, label)
    return _pad(lists, None, _missing(feature)).astype(_dtype(feature))


def _pad(lists: pa.ListArray, width: int | None, fill: Any) -> np.ndarray:
    if width is None:
        width = max(1, int(np.diff(np.asarray(lists.offsets)).max()))
    return raw.pad_lists(lists, width, fill)


def _missing(feature: Feature) -> Any:
    if isinstance(feature, CategoricalFeature):
        return raw.MISSING_STRING if feature.dtype == "string" else raw.MISSING_INT
    return np.float32(np.nan)


def _dtype(feature: Feature) -> Any:
    if isinstance(feature, CategoricalFeature):
        return object if feature.dtype == "string" else "int64"
    return "float32"
