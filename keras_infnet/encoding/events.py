"""Events of histories: read from a log or from list columns, encoded, and cut into windows."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet.schema.canonical import column, list_values
from keras_infnet.schema.event_quantity import Events
from keras_infnet.schema.history import History
from keras_infnet.schema.number_forms import numbers_as_ids
from keras_infnet.schema.programs import Program
from keras_infnet.schema.schema import FeatureSchema

# The dtype of a feature's identifiers, from its name, its column, and what errors call that.
DtypeOf = Callable[[str, pd.Series, str], str | None]


def log_events(
    history: History,
    frame: pd.DataFrame,
    may_lack: bool = False,
    schema: FeatureSchema | None = None,
) -> dict[str, pa.Array]:
    """Canonical values of the events of a log, one a row of `frame`.

    Args:
        history: The history.
        frame: Events.
        may_lack: Whether missing columns of quantities mean "unknown" rather than an error.
        schema: A fitted schema, whose fields are read too. Defaults to `None`: quantities alone.

    Returns:
        Arrays by what follows `{history}_` in requests; quantities that follow from the order of
        events or from the row's time are not among them.
    """
    events: dict[str, pa.Array] = {}
    if schema is not None:
        for field in history.fields:
            label = f"{history.label}, field `{field}`"
            values = column(frame, field, label)
            events[field] = schema.feature(field).values(values, schema.dtype_of(field), label)
    for quantity in history.of_event:
        events |= quantity.of_log(frame, may_lack, history.label)
    return events


def listed_events(
    schema: FeatureSchema,
    history: History,
    frame: pd.DataFrame,
    dtype_of: DtypeOf | None = None,
) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Canonical values of the events of list columns, below one another.

    Args:
        schema: The schema.
        history: The history.
        frame: Rows that hold it as list columns, oldest event first.
        dtype_of: Tells dtypes that the schema does not know yet. Defaults to the schema's.

    Returns:
        Arrays by what follows `{history}_`, and where each row's events begin (and the last end).
    """
    flat, bounds = _flat_lists(history, frame)
    events: dict[str, pa.Array] = {}
    for field in history.fields:
        label, series = f"Column `{history.name}_{field}`", flat[field]
        dtype = schema.dtype_of(field) if dtype_of is None else dtype_of(field, series, label)
        # Without any value no dtype is known, nor needed.
        events[field] = schema.feature(field).values(series, dtype or "string", label)
    for suffix, quantity in history.read_by.items():
        label = f"Column `{history.name}_{suffix}`"
        events[suffix] = quantity.of_list(flat[suffix], label)
        quantity.check_order(events[suffix], bounds, frame.index, label)
    return events, bounds


def has_list_columns(history: History, frame: pd.DataFrame) -> bool:
    """Whether each row of the frame carries the history, as lists."""
    return f"{history.name}_{history.fields[0]}" in frame.columns


def encode_events(
    schema: FeatureSchema, programs: Mapping[str, Program], history: History, events: Events
) -> np.ndarray:
    """The columns of `schema.history_columns`, int32 `(events, columns)`."""
    packed: list[np.ndarray] = []
    for field in history.fields:
        program, label = programs[schema.table_of(field)], f"{history.label}, field `{field}`"
        packed.append(schema.feature(field).pack(events[field], program, label))
    for quantity in history.of_event:
        learned = programs.get(f"{history.name}/#{quantity.key}")
        packed.append(quantity.ids(events, learned)[:, None])
    for feature in schema.numeric_fields(history):
        values, program = events[feature.name], programs[schema.table_of(feature.name)]
        known = ~np.isnan(np.asarray(values))[:, None]
        packed.append(numbers_as_ids(feature.pack_numbers(values, program), known))
    return np.concatenate(packed, axis=1).astype("int32")


def encode_list_columns(
    schema: FeatureSchema, programs: Mapping[str, Program], history: History, frame: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Packed history of each row, from list columns; longer histories keep the newest events."""
    events, bounds = listed_events(schema, history, frame)
    columns = encode_events(schema, programs, history, events)
    there = columns[:, 0] != 0
    ends = np.concatenate([[0], np.cumsum(there)])[bounds]
    index, inside = window_index(ends[:-1], ends[1:], history.max_length)
    packed = {history.name: take_windows(columns[there], index, inside)}
    for quantity in history.of_row:
        ids = quantity.ids(events, None)
        packed[f"{history.name}_{quantity.key}"] = take_windows(ids[there], index, inside)
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


def _flat_lists(history: History, frame: pd.DataFrame) -> tuple[dict[str, pd.Series], np.ndarray]:
    """The values of list columns below one another, and where each row's begin (and the last end).

    Raises:
        ValueError: A column is missing, holds no lists, or lists differ in length.
    """
    flat: dict[str, pd.Series] = {}
    bounds, first = np.zeros(0, "int64"), ""
    for suffix in history.suffixes:
        name = f"{history.name}_{suffix}"
        lists = list_values(column(frame, name, history.label), f"Column `{name}`")
        lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype("int64")
        if not first:
            bounds, first = np.concatenate([[0], np.cumsum(lengths)]), name
        elif (bad := lengths != np.diff(bounds)).any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{history.label}: `{first}` and `{name}` differ in length in {int(bad.sum())} "
                f"rows (row {frame.index[row]}: {np.diff(bounds)[row]} and {lengths[row]})."
            )
        values = pa.chunked_array([lists.flatten()])
        flat[suffix] = pd.Series(pd.arrays.ArrowExtensionArray(values))  # type: ignore[attr-defined]
    return flat, bounds
