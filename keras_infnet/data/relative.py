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
    _check_known(schema, lacking, frame, who)
    lists = schema.lists_of(frame, who)
    columns: dict[str, Any] = {
        f.name: f.of_frame(frame, _number(schema, f), lists) for f in lacking
    }
    return frame.assign(**columns)


def _check_known(
    schema: FeatureSchema, features: list[RelativeFeature], frame: pd.DataFrame, who: str
) -> None:
    """A ValueError for a number of the past, whose column the rows don't have yet."""
    past = {f.name for f in schema.past}
    for feature in features:
        if feature.of in past and feature.of not in frame.columns:
            raise ValueError(
                f"{who}: feature `{feature.name}` is relative to `{feature.of}`, a feature of the "
                "past that the rows lack. Give them its column first: "
                "`data.Rates(schema, log).attach(log)`."
            )


def _number(schema: FeatureSchema, feature: RelativeFeature) -> Any:
    return schema.feature(feature.of)
