"""A model's arguments: collected from its constructor, and checked before any layer is made."""

import inspect
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from keras_infnet._base.did_you_mean import did_you_mean
from keras_infnet.models.history_tokens import EVENT_QUANTITIES
from keras_infnet.schema.schema import FeatureSchema

# What `keras.Model` itself takes.
_OF_KERAS = ("name", "trainable")


def constructor_arguments(cls: type, local_names: Mapping[str, Any]) -> dict[str, Any]:
    """Of the `locals()` of a model's `__init__`, its hyperparameters: all but schema and dtype.

    Args:
        cls: The model's class.
        local_names: `locals()`, with the further keyword arguments as `kwargs`.

    Returns:
        Hyperparameters by name, of the kinds of their defaults.

    Raises:
        ValueError: `schema` is no fitted schema, a keyword is unknown, or a hyperparameter is of
            another kind than its default.
    """
    _check_schema(cls.__name__, local_names["schema"])
    given = inspect.signature(cls.__init__).parameters
    names = [n for n in given if n not in ("self", "schema", "dtype", "kwargs")]
    for name in local_names["kwargs"]:
        if name not in _OF_KERAS:
            near = did_you_mean(name, [*names, "dtype", *_OF_KERAS])
            raise ValueError(f"{cls.__name__}: unknown argument `{name}`.{near}")
    for name in names:
        _check_kind(cls.__name__, name, local_names[name], given[name].default)
    return {name: local_names[name] for name in names}


def check_hyperparameters(
    model: str, given: Mapping[str, Any], may_be_zero: Collection[str] = ()
) -> None:
    """Raises a ValueError for hyperparameters out of range, which it knows by their names.

    Args:
        model: Name of the model, for the message.
        given: Hyperparameters by name. Widths and numbers (`dim`, `*_dim`, `*_dims`, `num_*`,
            `members`) must be 1 or more, `dropout` in [0, 1), `embedding_stddev` above 0,
            `event_context` known.
        may_be_zero: Names of widths and numbers that may be 0.
    """
    for name, value in given.items():
        if not re.fullmatch(r"dim|.*_dims?|num_.*|members", name) or value is None:
            continue
        lowest = 0 if name in may_be_zero else 1
        for size in value if isinstance(value, (list, tuple)) else (value,):
            if size < lowest:
                raise ValueError(f"{model}: `{name}` must be {lowest} or more. Received: {value}")
    if not 0 <= given["dropout"] < 1:
        raise ValueError(f"{model}: `dropout` must be in [0, 1). Received: {given['dropout']}")
    if not 0 < given["embedding_stddev"] < math.inf:
        raise ValueError(
            f"{model}: `embedding_stddev` must be above 0. Received: {given['embedding_stddev']}"
        )
    unknown = sorted(set(given["event_context"]) - set(EVENT_QUANTITIES))
    if unknown:
        raise ValueError(
            f"{model}: event_context has {unknown}; expected any of {EVENT_QUANTITIES}."
        )


def _check_schema(model: str, schema: Any) -> None:
    if not isinstance(schema, FeatureSchema):
        raise ValueError(
            f"{model}: the schema is a {type(schema).__name__}; expected a fitted FeatureSchema, "
            "the `schema` of a fitted FeatureEncoder."
        )
    schema.require_fitted()


def _check_kind(model: str, name: str, value: Any, default: Any) -> None:
    # Where the default is None, the argument is a width.
    if default is None and value is None:
        return
    expected = 0 if default is None else default
    if not _is_like(value, expected):
        kind = _KINDS[type(expected)]
        if isinstance(expected, tuple):
            kind = f"a tuple, each {_KINDS[type(expected[0])]}"
        raise ValueError(f"{model}: `{name}` must be {kind}. Received: {value!r}")


def _is_like(value: Any, example: Any) -> bool:
    if isinstance(example, tuple):
        return isinstance(value, (list, tuple)) and all(_is_like(v, example[0]) for v in value)
    if isinstance(example, (bool, str)):
        return isinstance(value, type(example))
    # Layers take no whole number of numpy either.
    numbers = (int,) if isinstance(example, int) else (int, float)
    return isinstance(value, numbers) and not isinstance(value, bool)


_KINDS = {
    bool: "True or False",
    int: "an int",
    float: "a number",
    str: "a string",
    tuple: "a tuple",
}
