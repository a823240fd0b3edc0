"""What the task tokens read: attention over fields and history positions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.models.infnet import INFNet

_BATCH = 1024


def task_attention(model: INFNet, inputs: Mapping[str, Any], block: int = -1) -> pd.DataFrame:
    """Attention of the task tokens, real and shared, averaged over rows.

    A weight is a mean over heads and rows; a row whose history is empty counts with zeros. The sum
    over a memory is 1 for the fields, and for the histories the share of rows that have one.

    Args:
        model: An `INFNet` with a heterogeneous flow.
        inputs: Packed inputs of the rows, from `FeatureEncoder.transform`.
        block: Index of the block. Defaults to `-1`, the last.

    Returns:
        One row for each task and each shared task token (`shared 0`, ...). The columns have two
        levels: `fields` and the field's name, or a history's name and the position in it, 0 the
        newest.

    Raises:
        ValueError: The model has no block, no task tokens, or its block no heterogeneous flow.

    Example:
        ```python
        rows = histories.attach(test.head(1000))
        attention = keras_infnet.task_attention(model, encoder.transform(rows))
        attention["fields"].loc["like"].nlargest(5)
        ```

    Reference:
        Li et al., INFNet, arXiv:2508.11565v1, Figure 5.
    """
    given = model.hyperparameters
    if not (given["task_tokens"] or given["num_task_proxies"]):
        raise ValueError("task_attention: the model has no task tokens, real or shared.")
    rows = len(next(iter(inputs.values())))
    total: dict[str, np.ndarray] = {}
    for start in range(0, rows, _BATCH):
        part = {name: values[start : start + _BATCH] for name, values in inputs.items()}
        for memory, weights in model.attention_weights(part, block).items():
            if memory != "tasks":
                queries = [
                    weights[group] for group in ("tasks", "task_proxies") if group in weights
                ]
                summed = np.concatenate([np.asarray(w, "float32").sum(0) for w in queries])
                total[memory] = total.get(memory, 0) + summed
    if not total:
        raise ValueError("task_attention: the model has no heterogeneous flow that could be read.")
    columns = {"fields": [("fields", name) for name in model.schema.field_names]}
    columns["history"] = [
        (sequence.name, position)
        for sequence in model.schema.sequences
        for position in reversed(range(sequence.max_length))
    ]
    names = list(model.schema.task_names) if given["task_tokens"] else []
    shared = len(next(iter(total.values()))) - len(names)
    index = names + [f"shared {i}" for i in range(shared)]
    parts = [
        pd.DataFrame(weights / rows, index, pd.MultiIndex.from_tuples(columns[memory]))
        for memory, weights in total.items()
    ]
    return pd.concat(parts, axis=1)
