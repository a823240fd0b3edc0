"""The histories of a batch, gathered from events by pointers, in TensorFlow."""

from typing import Any

from keras_infnet.data.histories import NO_TIME
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
        `{name: (batch, length, columns)}`, and `(batch, length)` of each quantity that depends on
        the row, such as `f"{name}_age"`.
    """
    import tensorflow as tf

    history = schema.history(name)
    starts, ends, row_times = window[:, :1], window[:, 1:2], window[:, 2:]
    length = tf.constant(history.max_length, "int64") if length is None else length
    index = ends - length + tf.range(length)
    inside = index >= starts
    index = tf.where(inside, index, 0)
    packed = tf.gather(columns, index) * tf.cast(inside, "int32")[..., None]
    gathered = {name: packed}
    for quantity in history.of_row:
        event_times = tf.gather(times, index)
        known = inside & (event_times != NO_TIME) & (schema.time_key is not None)
        values = quantity.of_time(row_times, tf.where(known, event_times, 0))
        ids = quantity.program(None).graph(tf, [])(values)
        gathered[f"{name}_{quantity.key}"] = tf.where(known, ids, 0)
    return gathered
