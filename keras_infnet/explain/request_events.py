"""What the task tokens read of one request: its fields, and its past events."""

import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import encode_events, listed_events
from keras_infnet.schema.history import History


def fields_of_request(row: pd.DataFrame, attention: pd.DataFrame) -> pd.DataFrame:
    """One row a field: raw value, and the weight of each task and shared task token.

    Args:
        row: The request, a frame of one row.
        attention: Its table of `task_attention`.
    """
    weights = attention["fields"].T
    values = [row[name].iloc[0] for name in weights.index]
    return pd.concat(
        [pd.Series(values, weights.index, dtype=object, name="value"), weights], axis=1
    )


def events_of_request(
    encoder: FeatureEncoder, row: pd.DataFrame, attention: pd.DataFrame
) -> pd.DataFrame:
    """One row an event, of each history the newest first; see `Explanation.events`.

    Args:
        encoder: The encoder.
        row: The request, a frame of one row with its histories as list columns.
        attention: Its table of `task_attention`.
    """
    parts = []
    for s in encoder.schema.histories:
        events = _newest_first(encoder, s, row)
        events.insert(0, "history", s.name)
        events.insert(1, "position", range(len(events)))
        weights = attention[s.name].T.sort_index().iloc[: len(events)]
        parts.append(pd.concat({"event": events, "attention": weights}, axis=1))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _newest_first(encoder: FeatureEncoder, sequence: History, row: pd.DataFrame) -> pd.DataFrame:
    """Raw events that the model was given."""
    events, _ = listed_events(encoder.schema, sequence, row)
    if len(events):
        there = encode_events(encoder.schema, encoder.programs, sequence, events)[:, 0] != 0
        events = events[there].iloc[-sequence.max_length :].iloc[::-1].reset_index(drop=True)
    return events.rename(columns=lambda name: name.removeprefix(f"{sequence.name}_"))
