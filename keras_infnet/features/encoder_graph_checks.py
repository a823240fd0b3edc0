"""Checks of a raw request inside the graph: a wrong one is refused by the name of its inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_infnet.schema.schema import FeatureSchema


def checked_request(tf: Any, schema: FeatureSchema, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The request, with 0 for each number of a dense vector or a weight that can't be one.

    Args:
        tf: TensorFlow.
        schema: The schema.
        raw: Tensors by the names of `schema.raw_inputs()`. Those whose batch is known to be 1 may
            stand for all rows.

    Returns:
        Tensors by name. Running them is an error unless each has its known dimensions, all have the
        same number of rows, all columns of a history the same number of events, and a bag and its
        weights the same width.
    """
    raw = {name: tf.ensure_shape(values, values.shape) for name, values in raw.items()}
    weighted = [f for f in schema.bags if f.weights]
    groups = {f"bag `{f.name}` and its weights": [f.name, f.weights] for f in weighted}
    for sequence in schema.histories:
        columns = [*sequence.fields, *sequence.actions, "ratio", "age_seconds"]
        names = [f"{sequence.name}_{column}" for column in columns]
        groups[f"the columns of history `{sequence.name}`"] = [n for n in names if n in raw]
    one_each = [f.name for f in schema.features]
    one_each += [f"{s.name}_{s.fields[0]}" for s in schema.histories]
    many = [name for name in one_each if raw[name].shape[0] != 1]
    checks = [_check(tf, "the inputs differ in rows", raw, many, 1)]
    for what, names in groups.items():
        checks.append(_check(tf, f"{what} differ in rows or length", raw, names, 2))
    with tf.control_dependencies([check for check in checks if check is not None]):
        request = {name: tf.identity(values) for name, values in raw.items()}
    for feature in schema.dense:
        values = request[feature.name]
        request[feature.name] = tf.where(tf.math.is_finite(values), values, 0.0)
    for feature in weighted:
        values = request[feature.weights]
        valid = (values > 0) & tf.math.is_finite(values)
        request[feature.weights] = tf.where(valid, values, 0.0)
    return request


def _check(tf: Any, wrong: str, raw: Mapping[str, Any], names: Sequence[str], axes: int) -> Any:
    """An assertion that the inputs agree in their first dimensions; `None` where one is alone."""
    if len(names) < 2:
        return None
    sizes = tf.stack([_sizes(tf, raw[name], axes) for name in names])
    text = f"Request: {wrong}: {', '.join(names)} have"
    return tf.debugging.Assert(tf.reduce_all(sizes == sizes[:1]), [text, sizes], summarize=200)


def _sizes(tf: Any, values: Any, axes: int) -> Any:
    shape = tf.shape(values)
    return shape if len(values.shape) == axes else shape[:axes]
