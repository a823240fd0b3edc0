"""What the task tokens read: fields and history positions, of many rows or of one request."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.events import encode_events, listed_events
from keras_infnet.explain.reading import InfnetReader
from keras_infnet.models.infnet import INFNet
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema

_TASK_GROUPS = {"tasks", "task_proxies"}


def task_attention(model: INFNet, inputs: Mapping[str, Any], block: int = -1) -> pd.DataFrame:
    """Attention of the task tokens, real and shared, averaged over rows.

    A weight is a mean over heads and rows; a row whose history is empty counts with zeros. The sum
    over a memory is 1 for the fields, and for the histories the share of rows that have one. Of a
    model with several members the real tasks are averaged over them too. `explain` has this table
    and more from a frame.

    Args:
        model: An `INFNet` with a heterogeneous flow.
        inputs: Packed inputs of the rows, from `FeatureEncoder.transform`.
        block: Index of the block. Defaults to `-1`, the last.

    Returns:
        One row for each task and each shared task token (`shared 0`, ...; `member 1, shared 0` if
        there are several members). The columns have two levels: `fields` and the field's name, or a
        history's name and the position in it, 0 the newest.

    Raises:
        ValueError: The model is no INFNet, or has no such block, no task tokens, or no
            heterogeneous flow.

    Example:
        ```python
        inputs = data.encoder.transform(data.attach("test"))
        attention = keras_infnet.explain.task_attention(model, inputs)
        attention["fields"].loc["like"].nlargest(5)
        ```

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, Figure 5.
    """
    weights = InfnetReader(model).attention(inputs) if isinstance(model, INFNet) else pd.DataFrame()
    reason = why_no_attention(model, weights)
    if reason:
        raise ValueError(f"task_attention: {reason}.")
    return rows_of_tasks(weights, block)


def why_no_attention(model: Any, attention: pd.DataFrame | None) -> str | None:
    """Why no attention of task tokens can be read from a model; None if it can.

    Args:
        model: The model.
        attention: Table of `InfnetReader.attention`, of an INFNet.
    """
    if not isinstance(model, INFNet):
        return f"{type(model).__name__} has no task tokens whose attention could be read"
    if attention is None or not len(attention):
        return "the model has no heterogeneous flow that could be read"
    if not _TASK_GROUPS & query_groups(attention):
        return "the model has no task tokens, real or shared"
    return None


def rows_of_tasks(attention: pd.DataFrame, block: int) -> pd.DataFrame:
    """The table of `task_attention`, from that of all tokens.

    Args:
        attention: Table of `InfnetReader.attention`.
        block: Index of the block, negative from the last.

    Returns:
        One row a task or shared task token.

    Raises:
        ValueError: There is no such block.
    """
    of_block: Any = attention.xs(checked_block(attention, block), level="block")
    of_block = of_block.drop(columns="tasks", level=0, errors="ignore")
    of_block = of_block[of_block.index.get_level_values("group").isin(_TASK_GROUPS)]
    members = of_block.index.get_level_values("member").nunique()
    names = [
        token if group == "tasks" or members == 1 else f"member {member}, {token}"
        for member, group, token in of_block.index
    ]
    return of_block.groupby(names, sort=False).mean()


def query_groups(attention: pd.DataFrame) -> set[str]:
    """Groups of tokens whose attention the table has."""
    return set(attention.index.get_level_values("group"))


def checked_block(attention: pd.DataFrame, block: int) -> int:
    """The block's index from 0; a ValueError if there is no such block."""
    blocks = int(attention.index.get_level_values("block").max()) + 1
    if not -blocks <= block < blocks:
        raise ValueError(f"There is no block {block}; the model has {blocks}.")
    return block % blocks


def fields_of_request(
    schema: FeatureSchema, row: pd.DataFrame, attention: pd.DataFrame
) -> pd.DataFrame:
    """One row a field: raw value, and the weight of each task and shared task token.

    Args:
        schema: The schema.
        row: The request, a frame of one row.
        attention: Its table of `task_attention`.
    """
    weights = attention["fields"].T
    values = [_value_of_token(schema, row, token) for token in weights.index]
    return pd.concat(
        [pd.Series(values, weights.index, dtype=object, name="value"), weights], axis=1
    )


def _value_of_token(schema: FeatureSchema, row: pd.DataFrame, token: str) -> Any:
    """The raw value of a field; of a token that several features share, those by name."""
    values = {f.name: row[f.name].iloc[0] for f in schema.features if f.token_name == token}
    return values if token in schema.shared_tokens() else values[token]


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
    return pd.concat(parts, ignore_index=True)


def _newest_first(encoder: FeatureEncoder, sequence: History, row: pd.DataFrame) -> pd.DataFrame:
    """Raw events that the model was given."""
    values, _ = listed_events(encoder.schema, sequence, row)
    events = pd.DataFrame({name: array.to_pandas() for name, array in values.items()})
    if len(events):
        there = encode_events(encoder.schema, encoder.programs, sequence, values)[:, 0] != 0
        events = events[there].iloc[-sequence.max_length :].iloc[::-1].reset_index(drop=True)
    return events
