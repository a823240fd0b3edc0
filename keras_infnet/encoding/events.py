"""Events of histories: their packed columns, and histories that a frame holds as list columns."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from keras_infnet.schema.history import History

from keras_infnet.schema import canonical as raw
from keras_infnet.schema.programs import age_ids, ratio_ids
from keras_infnet.schema.schema import FeatureSchema

# Ratios that list columns give, among their events. A log's column `{history}_ratio` is no ratio of
# its events: they have a numerator and a denominator.
LISTED_RATIO = "#ratio"


def action_values(sequence: History, frame: pd.DataFrame, may_lack: bool) -> np.ndarray:
    """The feedbacks of each event, `(events, actions)`: 0, 1, or -1 for unknown."""
    values = np.full((len(frame), len(sequence.actions)), raw.MISSING_INT, "int64")
    for i, action in enumerate(sequence.actions):
        label = f"History `{sequence.name}`, action `{action}`"
        if action in frame.columns or not may_lack:
            values[:, i] = raw.actions(raw.column(frame, action, label), label)
    return values


def action_codes(values: np.ndarray) -> np.ndarray:
    """One number for each combination of feedbacks (each 0, 1 or unknown)."""
    return (values + 1) @ 3 ** np.arange(values.shape[1], dtype="int64")


def event_ratios(sequence: History, frame: pd.DataFrame, may_lack: bool) -> np.ndarray:
    """float32 ratio of each event, NaN where unknown or where the denominator is not positive."""
    if LISTED_RATIO in frame.columns:
        label = f"Column `{sequence.name}_ratio`"
        return raw.number_values(frame[LISTED_RATIO], True, label)
    if may_lack and not set(sequence.ratio) <= set(frame.columns):
        return np.full(len(frame), np.nan, "float32")
    label = f"History `{sequence.name}`, ratio"
    top, bottom = (
        raw.number_values(raw.column(frame, c, label), True, label) for c in sequence.ratio
    )
    return np.divide(top, bottom, out=np.full(len(top), np.nan, "float32"), where=bottom > 0)


def encode_event_columns(
    encoder: Any, sequence: History, frame: pd.DataFrame, may_lack: bool
) -> np.ndarray:
    """The columns of `schema.history_columns`, one event a row."""
    packed = [
        encoder.field_ids(frame, field, f"History `{sequence.name}`, field `{field}`")
        for field in sequence.fields
    ]
    if sequence.actions:
        values = action_values(sequence, frame, may_lack)
        vocabulary = encoder.action_vocabularies[sequence.name]
        packed.append(vocabulary.lookup(action_codes(values))[:, None])
    if sequence.ratio:
        packed.append(ratio_ids(event_ratios(sequence, frame, may_lack))[:, None])
    if sequence.groups:
        packed.append(_group_bits(sequence, values if sequence.actions else None, len(frame)))
    return np.concatenate(packed, axis=1).astype("int32")


def has_list_columns(sequence: History, frame: pd.DataFrame) -> bool:
    """Whether each row of the frame carries the history, as lists."""
    return f"{sequence.name}_{sequence.fields[0]}" in frame.columns


def list_events(
    schema: FeatureSchema, sequence: History, frame: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray]:
    """The events of list columns below one another, and where each row's events begin (and end)."""
    names = {field: f"{sequence.name}_{field}" for field in sequence.fields}
    names |= {action: f"{sequence.name}_{action}" for action in sequence.actions}
    if sequence.ratio:
        names[LISTED_RATIO] = f"{sequence.name}_ratio"
    if sequence.ages:
        names[f"{sequence.name}_age_seconds"] = f"{sequence.name}_age_seconds"
    flat, offsets, first = {}, None, ""
    for column, name in names.items():
        series = raw.column(frame, name, f"History `{sequence.name}`")
        lists = raw.list_values(series, f"Column `{name}`")
        lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype("int64")
        if offsets is None:
            offsets, first = np.concatenate([[0], np.cumsum(lengths)]), name
        elif (bad := lengths != np.diff(offsets)).any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"History `{sequence.name}`: `{first}` and `{name}` differ in length in "
                f"{int(bad.sum())} rows "
                f"(row {frame.index[row]}: {np.diff(offsets)[row]} and {lengths[row]})."
            )
        flat[column] = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([lists.flatten()])))
    return pd.DataFrame(flat), offsets


def encode_list_columns(
    encoder: Any, sequence: History, frame: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Packed history of each row, from list columns; longer histories keep the newest events."""
    events, offsets = list_events(encoder.schema, sequence, frame)
    columns = encode_event_columns(encoder, sequence, events, False)
    ages = np.zeros(len(events), "int64")
    if sequence.ages:
        ages = _ages(sequence, events, offsets, frame.index)
    there = columns[:, 0] != 0
    ends = np.concatenate([[0], np.cumsum(there)])[offsets]
    index, inside = window_index(ends[:-1], ends[1:], sequence.max_length)
    packed = {sequence.name: take_windows(columns[there], index, inside)}
    if sequence.ages:
        packed[f"{sequence.name}_age"] = take_windows(age_ids(ages[there]), index, inside)
    return packed


def window_index(
    starts: np.ndarray, ends: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the newest `length` events in `[start, end)`, and which of them are there."""
    index = ends[:, None] - length + np.arange(length)
    inside = index >= starts[:, None]
    return np.where(inside, index, 0), inside


def take_windows(events: np.ndarray, index: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`events[index]`, 0 outside."""
    if not len(events):
        return np.zeros(index.shape + events.shape[1:], events.dtype)
    mask = inside.reshape(inside.shape + (1,) * (events.ndim - 1))
    return events[index] * mask.astype(events.dtype)


def _group_bits(sequence: History, values: np.ndarray | None, rows: int) -> np.ndarray:
    bits = np.zeros(rows, "int32")
    for g, group in enumerate(sequence.groups):
        member = np.ones(rows, bool)
        if group.any_of:
            member &= (values[:, [sequence.actions.index(a) for a in group.any_of]] == 1).any(1)
        if group.none_of:
            member &= (values[:, [sequence.actions.index(a) for a in group.none_of]] == 0).all(1)
        bits |= member.astype("int32") << g
    return bits[:, None]


def _ages(
    sequence: History, events: pd.DataFrame, offsets: np.ndarray, index: pd.Index
) -> np.ndarray:
    label = f"Column `{sequence.name}_age_seconds`"
    values = np.asarray(
        raw.categorical_values(events[f"{sequence.name}_age_seconds"], "int", label)
    )
    known = np.flatnonzero(values >= 0)
    row = np.searchsorted(offsets, known, side="right") - 1
    younger_first = (np.diff(values[known]) > 0) & (row[1:] == row[:-1])
    if younger_first.any():
        bad = index[row[1:][younger_first][0]]
        raise ValueError(
            f"{label}: events are out of order in {len(np.unique(row[1:][younger_first]))} rows "
            f"(such as row "
            f"{bad}); expected the oldest event first, so that ages do not grow."
        )
    return values
