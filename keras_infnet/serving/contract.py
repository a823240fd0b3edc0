"""The serving contract of a schema: whose the raw inputs are, and how outputs are called."""

from collections.abc import Collection

from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING
from keras_infnet.schema.schema import FeatureSchema

# What means "missing", by dtype.
PADDING = {"string": MISSING_STRING, "int64": MISSING_INT, "float32": float("nan")}


def owned_inputs(
    schema: FeatureSchema, owners: Collection[str]
) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """The part of `schema.raw_inputs()` that belongs to `owners`; histories are the user's."""
    others = [f for f in schema.features if f.owner not in owners]
    left_out = {name for f in others for name in (f.name, getattr(f, "weights", None))}
    if "user" not in owners:
        left_out |= {name for s in schema.histories for name in history_inputs(schema, s.name)}
    return {name: spec for name, spec in schema.raw_inputs().items() if name not in left_out}


def item_inputs(schema: FeatureSchema) -> list[str]:
    """Names of the raw inputs that are the item's."""
    return list(owned_inputs(schema, ("item",)))


def history_inputs(schema: FeatureSchema, history: str) -> list[str]:
    """Names of a history's raw inputs; the first tells whether there is an event."""
    s = schema.history(history)
    names = [*s.fields, *s.actions]
    names += ["ratio"] * bool(s.ratio) + ["age_seconds"] * s.ages
    return [f"{history}_{name}" for name in names]


def output_columns(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """Names of the columns of each task's output `(batch, units)`, in schema order.

    The one column of a task has the task's name.
    """
    return {task.name: (task.name,) for task in schema.tasks}


def column_names(schema: FeatureSchema) -> list[str]:
    """Columns of all outputs, side by side: `rank_top_k` has an exponent for each."""
    return [column for columns in output_columns(schema).values() for column in columns]
