"""The serving contract of a schema: which inputs are a candidate's, and how outputs are called."""

from keras_infnet.schema.schema import FeatureSchema


def item_inputs(schema: FeatureSchema) -> list[str]:
    """Names of the raw inputs that are the item's; histories are the user's."""
    return list(schema.raw_inputs(("item",)))


def output_columns(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """Names of the columns of each task's output `(batch, units)`, in schema order."""
    return {task.name: task.columns for task in schema.tasks}


def column_names(schema: FeatureSchema) -> list[str]:
    """Columns of all outputs, side by side: `rank_top_k` has an exponent for each."""
    return [column for columns in output_columns(schema).values() for column in columns]
