"""Columns of features that are relative to a list, from the rows of whole lists."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema


def with_relative(schema: FeatureSchema, frame: pd.DataFrame, who: str) -> pd.DataFrame:
    """The rows with the columns of a schema's `RelativeFeature`s; those that are there stay.

    Those that are relative to a feature of the past wait until the rows have it.

    Args:
        schema: The schema.
        frame: Rows of whole lists.
        who: Who asks, for error messages.

    Raises:
        ValueError: A column that is needed is missing or holds what it must not, or a list is of
            several users.
    """
    waiting = {f.name for f in schema.past} - {*frame.columns}
    features = [f for f in _lacking(schema, frame) if f.of not in waiting]
    if not features:
        return frame
    lists = schema.lists_of(frame, who)
    columns: dict[str, Any] = {
        f.name: f.of_frame(frame, _number(schema, f), lists) for f in features
    }
    return frame.assign(**columns)


def check_whole_lists(schema: FeatureSchema, log: pd.DataFrame, parts: np.ndarray) -> None:
    """A ValueError where a number is relative to the past of a list that is in several parts.

    How far the past reaches depends on the part that is asked for, so lists must lie in one.

    Args:
        schema: The schema.
        log: All rows.
        parts: Part of each row.
    """
    past = {f.name for f in schema.past}
    features = [f for f in _lacking(schema, log) if f.of in past]
    if not features:
        return
    lists = schema.lists_of(log, "RankingData")
    part_of_list = np.zeros(lists.max() + 1, parts.dtype)
    listed = np.flatnonzero(lists >= 0)
    part_of_list[lists[listed]] = parts[listed]
    cut = listed[part_of_list[lists[listed]] != parts[listed]]
    if len(cut):
        f, keys = features[0], schema.require_lists("RankingData")
        shown = ", ".join(f"`{key}` {log[key].iloc[cut[0]]}" for key in keys)
        raise ValueError(
            f"RankingData: feature `{f.name}` is relative to `{f.of}`, a feature of the past, in "
            f"lists of which {len(np.unique(lists[cut]))} have rows in several parts (such as "
            f"{shown}). Split the log between lists, or give it the column `{f.of}` first: "
            "`data.Rates(schema, log, action_rates=...).attach(log)`."
        )


def check_no_relative(schema: FeatureSchema, names: Collection[str]) -> None:
    """A ValueError where rows of a log in chunks lack a number that is relative to its list."""
    for f in schema.features:
        if isinstance(f, RelativeFeature) and f.name not in names:
            raise ValueError(
                f"feature `{f.name}` is relative to the lists of `{f.of}`, which chunks of a log "
                "may cut, and the log has no such column. Add it to the log (the formula is in "
                "`help(keras_infnet.RelativeFeature)`), or use `RankingData(schema, log)`, which "
                "computes it of a log in memory."
            )


def _lacking(schema: FeatureSchema, frame: pd.DataFrame) -> list[RelativeFeature]:
    features = (f for f in schema.features if isinstance(f, RelativeFeature))
    return [f for f in features if f.name not in frame.columns]


def _number(schema: FeatureSchema, feature: RelativeFeature) -> Any:
    return schema.feature(feature.of)
