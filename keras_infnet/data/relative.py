"""Columns of features that are relative to a list, from the rows of whole lists."""

from typing import Any

import pandas as pd

from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema


def with_relative(schema: FeatureSchema, frame: pd.DataFrame, who: str) -> pd.DataFrame:
    """The rows with the columns of a schema's `RelativeFeature`s; those that are there stay.

    Args:
        schema: The schema.
        frame: Rows of whole lists.
        who: Who asks, for error messages.

    Raises:
        ValueError: A column that is needed is missing or holds what it must not, or a list is of
            several users.
    """
    lacking = [
        f for f in schema.features if isinstance(f, RelativeFeature) and f.name not in frame.columns
    ]
    if not lacking:
        return frame
    lists = schema.lists_of(frame, who)
    columns: dict[str, Any] = {
        f.name: f.of_frame(frame, _number(schema, f), lists) for f in lacking
    }
    return frame.assign(**columns)


def _number(schema: FeatureSchema, feature: RelativeFeature) -> Any:
    return schema.feature(feature.of)
