"""The histories of a batch, gathered from events by pointers, in TensorFlow."""

from typing import Any

from keras_infnet.data.histories import NO_TIME
from keras_infnet.schema.programs import AGE_EDGES
from keras_infnet.schema.schema import FeatureSchema


def gather_windows(
    schema: FeatureSchema, name: str, columns: Any, times: Any, window: Any, length: Any = None
) -> dict[str, Any]:
    """Packed history of each row.

    Args:
        schema: A fitted schema.
        name: Name of the history.
        columns: int32 `(events, columns)` with at least one event.
        times: int64 `(events,)`, milliseconds, `NO_TIME` where unknown.
        window: int64 `(batch, 3)`: start, end and the row's own time.
        length: Positions of the history, the newest. Defaults to its `max_length`.

    Returns:
        `{name: (batch, length, columns), f"{name}_age": (batch, length)}`, the second only of a
        history with ages.
    """
    import tensorflow as tf

    sequence = schema.history(name)
    starts, ends, row_times = window[:, :1], window[:, 1:2], window[:, 2:]
    length = tf.constant(sequence.max_length, "int64") if length is None else length
    index = ends - length + tf.range(length)
    inside = index >= starts
    index = tf.where(inside, index, 0)
    packed = tf.gather(columns, index) * tf.cast(inside, "int32")[..., None]
    if not sequence.ages:
        return {name: packed}
    event_times = tf.gather(times, index)
    known = inside & (event_times != NO_TIME) & (schema.time_key is not None)
    seconds = (row_times - tf.where(known, event_times, 0)) // 1000
    bucket = tf.searchsorted(tf.constant(AGE_EDGES), tf.reshape(seconds, [-1]), side="right")
    ages = tf.where(known, tf.reshape(bucket, tf.shape(index)), 0)
    return {name: packed, f"{name}_age": ages}
