"""What the task tokens read: attention over fields and history positions."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from keras_infnet.explain.infnet_means import InfnetReader
from keras_infnet.models.infnet import INFNet


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
        rows = histories.attach(test.head(1000))
        attention = keras_infnet.explain.task_attention(model, encoder.transform(rows))
        attention["fields"].loc["like"].nlargest(5)
        ```

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, Figure 5.
    """
    reason = why_no_attention(model)
    if reason:
        raise ValueError(f"task_attention: {reason}.")
    return rows_of_tasks(InfnetReader(model).attention(inputs), block)


def why_no_attention(model: Any) -> str | None:
    """Why no attention of task tokens can be read from a model; None if it can."""
    if not isinstance(model, INFNet):
        return f"{type(model).__name__} has no task tokens whose attention could be read"
    config = model.config
    if not (config.task_tokens or config.num_task_proxies):
        return "the model has no task tokens, real or shared"
    if not (config.num_blocks and config.heterogeneous_flow):
        return "the model has no heterogeneous flow that could be read"
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
    memories = [c for c in attention.columns if c[0] != "tasks"]
    of_block = attention[memories].xs(checked_block(attention, block), level="block")
    members = of_block.index.get_level_values("member").nunique()
    groups = set(of_block.index.get_level_values("group"))
    parts = []
    if "tasks" in groups:
        tasks = of_block.xs("tasks", level="group")
        parts.append(tasks.groupby(level="token", sort=False).mean())
    if "task_proxies" in groups:
        shared = of_block.xs("task_proxies", level="group")
        names = [f"member {m}, {token}" if members > 1 else token for m, token in shared.index]
        parts.append(shared.set_axis(names))
    return pd.concat(parts).rename_axis(None)


def checked_block(attention: pd.DataFrame, block: int) -> int:
    """The block's index from 0; a ValueError if there is no such block."""
    blocks = int(attention.index.get_level_values("block").max()) + 1
    if not -blocks <= block < blocks:
        raise ValueError(f"There is no block {block}; the model has {blocks}.")
    return block % blocks
