"""Whether the parts of a schema fit together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.history import History
from keras_infnet.schema.numeric import NumericFeature

_PACKED = ("categorical", "bags", "bag_weights", "dense")
_KINDS = {
    "features": (CategoricalFeature, NumericFeature, DenseFeature),
    "tasks": (Task,),
    "sequences": (History,),
}


def checked_parts(name: str, found: Any) -> tuple:
    """A schema's argument as a tuple; an error if one of its parts is of no such kind."""
    kinds = _KINDS[name]
    is_list = isinstance(found, Iterable) and not isinstance(found, (str, Mapping))
    parts = tuple(found) if is_list else (found,)
    wrong = [part for part in parts if not isinstance(part, kinds)]
    if wrong or not is_list:
        shown = type(wrong[0] if wrong else found).__name__
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"FeatureSchema: {name}: found {shown}; expected a list of {expected}.")
    return parts


def check_names(schema: Any) -> None:
    """A ValueError if two inputs or outputs would have one name."""
    _check_unique("features", [f.name for f in schema.features])
    _check_unique("tasks", [t.name for t in schema.tasks])
    _check_unique("histories", [s.name for s in schema.histories])
    ages = {f"{s.name}_age" for s in schema.histories}
    for s in schema.histories:
        _check_unique(f"groups of history `{s.name}`", [g.name for g in s.groups])
        if s.name in _PACKED or s.name in ages:
            raise ValueError(f"FeatureSchema: a history can't be named `{s.name}`.")
        _check_unique(f"list columns of history `{s.name}`", s.list_columns)
        both = sorted(set(s.list_columns) & {f.name for f in schema.features})
        if both:
            raise ValueError(
                f"FeatureSchema: feature `{both[0]}` has the name of a list column of history "
                f"`{s.name}`. Name one of them otherwise."
            )


def check_references(schema: Any) -> None:
    """A ValueError if a table or a history names a feature that can't be it."""
    earlier: list[str] = []
    for feature in schema.features:
        if getattr(feature, "table", None) is not None:
            _check_table(schema, feature, earlier)
        earlier.append(feature.name)
    for s in schema.histories:
        for field in s.fields:
            if isinstance(schema.feature(field), DenseFeature):
                raise ValueError(
                    f"History `{s.name}`: field `{field}` is a dense vector; expected a "
                    "categorical or numeric feature."
                )
        first = schema.feature(s.fields[0])
        if isinstance(first, NumericFeature) or first.is_bag:
            raise ValueError(
                f"History `{s.name}`: its first field `{first.name}` identifies the event; "
                "expected a categorical feature with one value."
            )


def _check_table(schema: Any, feature: Feature, earlier: Sequence[str]) -> None:
    table = feature.table
    if table not in earlier or type(schema.feature(table)) is not type(feature):
        raise ValueError(
            f"Feature `{feature.name}`: table is {table!r}; expected an earlier feature of the "
            f"same kind.{did_you_mean(table, earlier)}"
        )
    mine, its = getattr(feature, "dtype", None), getattr(schema.feature(table), "dtype", None)
    if mine != its:
        raise ValueError(
            f"Feature `{feature.name}`: dtype is {mine!r}, and that of `{table}`, whose table it "
            f"uses, {its!r}; expected the same."
        )


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"FeatureSchema: {what} with the same name: {', '.join(twice)}.")
