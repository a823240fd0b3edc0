"""Pairs of a frame's rows by which `rank` is checked."""

import numpy as np
import pandas as pd

from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.signatures import item_inputs

_USERS = 4
_CANDIDATES = 50


def rank_pairs(schema: FeatureSchema, frame: pd.DataFrame) -> list[pd.DataFrame]:
    """For each of a few rows: its user, context and histories, with the items of several rows.

    Args:
        schema: The schema.
        frame: Rows with feature columns, and histories as list columns.

    Returns:
        Frames of pairs, one for each user, with the index of the rows whose items they are.
    """
    items = frame.iloc[:_CANDIDATES]
    of_item = [name for name in item_inputs(schema) if name in frame]
    chosen = np.unique(np.linspace(0, len(frame) - 1, _USERS).astype("int64"))
    pairs = []
    for row in chosen:
        of_user = frame.iloc[np.full(len(items), row)].set_axis(items.index)
        pairs.append(of_user.assign(**{name: items[name] for name in of_item}))
    return pairs
