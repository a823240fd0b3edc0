"""What proxies are made of: field proxies of fields, sequence proxies of events."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from keras_infnet.explain.token_names import history_positions, proxy_names
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.tokens import HistoryLayout


def field_norm_sums(flat_fields: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`sum_b |W_pf C_bf|` over rows `b`, for proxy `p` and field `f`.

    Args:
        flat_fields: Field tokens `(rows, fields, dim)`.
        kernel: `W_c`, `(fields * dim, proxies * dim)`.

    Returns:
        `(proxies, fields)`.
    """
    _, fields, dim = flat_fields.shape
    kernel = kernel.reshape(fields, dim, -1, dim)
    sums = []
    for p in range(kernel.shape[2]):
        parts = np.matmul(flat_fields.swapaxes(0, 1), kernel[:, :, p])
        sums.append(np.linalg.norm(parts, axis=-1).sum(1))
    return np.stack(sums)


def event_weights(model: INFNet, inputs: Mapping[str, Any], batch: int) -> pd.DataFrame:
    """Weight of the event at each position in each sequence proxy, averaged over rows.

    A pooled event weighs `1 / n_f`, with `n_f` events in its group `f`; outside it weighs 0.

    Args:
        model: The model.
        inputs: Packed inputs of the rows.
        batch: Rows at a time.

    Returns:
        One row for each proxy, columns (history, position); empty without histories or proxies.
    """
    names = proxy_names(model)["sequence_proxies"]
    if not names or "sequence_proxies" not in {layer.name for layer in model.member(0).layers}:
        return pd.DataFrame()
    layout, rows = HistoryLayout(model.schema, ()), len(next(iter(inputs.values())))
    weights = np.zeros((len(names), sum(layout.lengths)))
    for first in range(0, rows, batch):
        part = {name: values[first : first + batch] for name, values in inputs.items()}
        top = 0
        for s, groups in zip(layout.histories, layout.groups(part), strict=True):
            groups = ops.convert_to_numpy(groups)
            shares = groups / np.maximum(groups.sum(-1, keepdims=True), 1)
            bottom = top + groups.shape[1]
            weights[top:bottom, layout.positions[s.name]] += shares.sum(0)
            top = bottom
    columns = pd.MultiIndex.from_tuples(history_positions(model.schema))
    return pd.DataFrame(weights / rows, pd.Index(names, name="proxy"), columns)
