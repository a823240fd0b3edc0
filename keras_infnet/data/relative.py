"""Columns of features that are relative to a list, from the rows of whole lists."""

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema


def with_relative(
    schema: FeatureSchema, frame: pd.DataFrame, who: str, log: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The rows with the columns of a schema's `RelativeFeature`s; those that are there stay.

    Those that are relative to a feature of the past wait until the rows have it.

    Args:
        schema: The schema.
        frame: Rows of whole lists.
        who: Who asks, for error messages.
        log: Rows among which those of `frame` may be, of lists that it should have wholly. Defaults
            to none.

    Raises:
        ValueError: A column that is needed is missing or holds what it must not, or a list is of
            several users.

    Warns:
        UserWarning: A list has fewer rows than in the log.
    """
    waiting = {f.name for f in schema.past} - {*frame.columns}
    features = [f for f in _lacking(schema, frame) if f.of not in waiting]
    if not features:
        return frame
    lists = schema.lists_of(frame, who)
    if log is not None:
        _warn_of_cut_lists(schema, log, frame, features[0], who)
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


def _warn_of_cut_lists(
    schema: FeatureSchema,
    log: pd.DataFrame,
    frame: pd.DataFrame,
    feature: RelativeFeature,
    who: str,
) -> None:
    keys = list(schema.require_lists(who))
    if not set(keys) <= set(log.columns):
        return
    try:
        codes = schema.lists_of(pd.concat([log[keys], frame[keys]]), who) + 1
    except ValueError:
        # Both can be read, but not as one column: no list is told to be the log's.
        return
    in_log, here = (
        np.bincount(some, minlength=codes.max() + 1)[1:]
        for some in (codes[: len(log)], codes[len(log) :])
    )
    if cut := int(np.sum((here > 0) & (here < in_log))):
        warnings.warn(
            f"{who}: feature `{feature.name}` is relative to the list, and {cut} of "
            f"{np.count_nonzero(here)} lists have fewer rows here than in the log. It is computed "
            "of the rows given, and is another number than in training. Give whole lists, or some "
            "rows of `data.attach(part)`, which hold the column.",
            stacklevel=5,
        )


def _lacking(schema: FeatureSchema, frame: pd.DataFrame) -> list[RelativeFeature]:
    features = (f for f in schema.features if isinstance(f, RelativeFeature))
    return [f for f in features if f.name not in frame.columns]


def _number(schema: FeatureSchema, feature: RelativeFeature) -> Any:
    return schema.feature(feature.of)
