"""Rows of a frame as a raw request: what the exported model is fed."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import listed_events
from keras_infnet.schema.feature import OWNERS, Owner
from keras_infnet.schema.frames import Frame, as_rows
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema


def frame_to_request(schema: FeatureSchema, frame: Frame) -> dict[str, np.ndarray]:
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
    return owned_request(schema, as_rows(frame, "frame_to_request"), OWNERS)


def owned_request(
    schema: FeatureSchema, frame: pd.DataFrame, owners: Collection[Owner]
) -> dict[str, np.ndarray]:
    """`frame_to_request` of the features of some owners; histories are the user's."""
    request: dict[str, np.ndarray] = {}
    for feature in (f for f in schema.features if f.owner in owners):
        request |= feature.request(frame, schema.dtype_of(feature.name))
    for history in schema.histories if "user" in owners else ():
        request |= _history(schema, history, frame)
    return request


def example_request(encoder: FeatureEncoder) -> dict[str, np.ndarray]:
    """Two rows of known values with two events in each history, for an export without rows."""
    schema, request = encoder.schema, dict[str, np.ndarray]()
    for feature in schema.features:
        program = encoder.programs.get(schema.table_of(feature.name))
        request |= feature.examples(program, schema.dtype_of(feature.name))
    for history in schema.histories:
        for field in history.fields:
            request[f"{history.name}_{field}"] = np.stack([request[field]] * 2, axis=1)
        for suffix, quantity in history.read_by.items():
            request[f"{history.name}_{suffix}"] = np.array([quantity.examples()] * 2)
    return request


def _history(schema: FeatureSchema, history: History, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    events, bounds = listed_events(schema, history, frame)
    index = bounds[:-1, None] + np.arange(max(1, int(np.diff(bounds).max())))
    inside = index < bounds[1:, None]

    def padded(values: np.ndarray, fill: Any) -> np.ndarray:
        out = np.full(inside.shape + values.shape[1:], fill, values.dtype)
        out[inside] = values
        return out

    request: dict[str, np.ndarray] = {}
    for field in history.fields:
        feature, dtype = schema.feature(field), schema.dtype_of(field)
        values = feature.request_values(events[field], dtype)
        request[f"{history.name}_{field}"] = padded(values, feature.missing(dtype))
    for suffix, quantity in history.read_by.items():
        values = np.asarray(events[suffix])
        request[f"{history.name}_{suffix}"] = padded(values, quantity.missing())
    return request
