"""Serialised `tf.Example`s -> raw features by name."""

from typing import Any

from keras_infnet.schema.canonical import MISSING_INT, MISSING_STRING
from keras_infnet.schema.schema import FeatureSchema

_MISSING = {"string": MISSING_STRING, "int64": MISSING_INT, "float32": float("nan")}


def parse_examples(schema: FeatureSchema, serialised: Any) -> dict[str, Any]:
    """Raw features of a batch, by the names of `schema.raw_inputs()`.

    A feature that an example lacks is missing there, and a history empty; a dense vector must be
    there. In a history's column of bags, `{name}` holds the values of all events and
    `{name}_lengths` how many each event has.

    Args:
        schema: The schema.
        serialised: String tensor `(batch,)`.

    Returns:
        Dict of tensors `(batch, ...)`.
    """
    import tensorflow as tf

    inputs = schema.raw_inputs()
    kinds = {name: _kind(tf, name, shape, dtype) for name, (shape, dtype) in inputs.items()}
    parsed = tf.io.parse_example(serialised, kinds)
    weights = {getattr(feature, "weights", None) for feature in schema.features}
    missing = {n: 0.0 if n in weights else _MISSING[dtype] for n, (_, dtype) in inputs.items()}
    raw = {}
    for names in _same_width(schema):
        width = tf.reduce_max([parsed[name].bounding_shape(axis=1) for name in names])
        for name in names:
            shape = tf.stack([-1, width, *(-1 for _ in inputs[name][0][1:])])
            raw[name] = parsed[name].to_tensor(missing[name], shape=shape)
    return {name: raw.get(name, parsed[name]) for name in inputs}


def _kind(tf: Any, name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
    """How a feature lies in an example."""
    if shape == ():
        return tf.io.FixedLenFeature((), dtype, _MISSING[dtype])
    if None not in shape:
        return tf.io.FixedLenFeature(shape, dtype)
    lengths = [tf.io.RaggedFeature.RowLengths(f"{name}_lengths")] if len(shape) == 2 else []
    return tf.io.RaggedFeature(
        tf.as_dtype(dtype), value_key=name, partitions=lengths, row_splits_dtype=tf.int32
    )


def _same_width(schema: FeatureSchema) -> list[list[str]]:
    """Names of inputs of any width, those together that must be equally wide."""
    inputs = {name for name, (shape, _) in schema.raw_inputs().items() if None in shape}
    groups = []
    for feature in schema.features:
        if feature.name in inputs:
            groups.append([n for n in (feature.name, getattr(feature, "weights", None)) if n])
    grouped = {name for group in groups for name in group}
    for sequence in schema.histories:
        columns = [*sequence.fields, *sequence.actions, "ratio", "age_seconds"]
        names = [f"{sequence.name}_{column}" for column in columns]
        groups.append([name for name in names if name in inputs and name not in grouped])
    return groups
