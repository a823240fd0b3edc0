"""A user's state: what scoring reads of one user, between requests, and scores made of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet.models.one_user import OneUser
from keras_infnet.models.user_state import state_tensors
from keras_infnet.schema.feature import Owner
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.rank import outputs_of_candidates
from keras_infnet.serving.requests import OTHER_VERSION, STATE_PREFIX, score_inputs

# Columns of the user's features in a packed input; no layer is called so.
_PACKED = "packed_"


def is_tensor_of_state(name: str) -> bool:
    """Whether an input or output belongs to a user's state."""
    return name.startswith(STATE_PREFIX)


def number_of_version(fingerprint: str) -> int:
    """The number that a state carries for the digits of a model's fingerprint."""
    return int(fingerprint, 16)


def check_schema_has_state(schema: FeatureSchema) -> None:
    """A ValueError for a schema whose users have no state, or an input that is called like one."""
    needed: dict[Owner, str] = {
        "user": "feature or history of the user",
        "item": "feature of an item",
    }
    for owner, what in needed.items():
        if not schema.raw_inputs((owner,)):
            raise ValueError(
                f"export: user_state=True, and the schema has no {what}; expected some of both. "
                "Export without it."
            )
    taken = [name for name in score_inputs(schema) if is_tensor_of_state(name)]
    if taken:
        raise ValueError(
            f"export: feature `{taken[0]}` is called like a tensor of a user's state, "
            f"`{STATE_PREFIX}...`. Rename it, or export without user_state=True."
        )


def state_outputs(
    model: Any, encode: Any, schema: FeatureSchema, raw: Mapping[str, Any], dtype: str
) -> dict[str, Any]:
    """The state of one user, without the fingerprint.

    `user_state_packed_categorical` and so on are the packed columns of his features; the others are
    named as what made them, such as `user_state_history_tokens`.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        raw: Raw features of the user and his histories by name, with one row each.
        dtype: Of numbers that the graph has made: `"float32"`, or `"float16"`, which ends at
            +-65504. Encoded features stay as they are.

    Returns:
        Tensors by name, `(1, ...)`, or `(histories, ...)` of a layer that reads each by itself.
    """
    import tensorflow as tf

    packed = encode(raw, ("user",), trim=model.config.any_length)
    histories = {name: packed.pop(name) for name in _packed_histories(schema)}
    user = OneUser(model, histories)
    made = user.values(state_tensors(model, histories))
    largest = float(np.finfo(dtype).max)
    for name, x in made.items():
        if x.dtype.is_floating and x.dtype != dtype:
            made[name] = tf.cast(tf.clip_by_value(x, -largest, largest), dtype)
    made |= {f"{_PACKED}{name}": x for name, x in packed.items()}
    return {f"{STATE_PREFIX}{name}": x for name, x in made.items()}


def score_outputs(
    model: Any, encode: Any, schema: FeatureSchema, raw: Mapping[str, Any], fingerprint: int
) -> dict[str, Any]:
    """Each task's output of every candidate, as `rank_outputs` gives it.

    Args:
        model: The Keras model, under TensorFlow.
        encode: The encoder as a `tf.Module`.
        schema: The schema of both.
        raw: A state's tensors, raw features of the context with one row, and of the items with a
            row for each candidate, by name.
        fingerprint: Number of the model's version. Running it with another's state is an error.

    Returns:
        Dict of tensors by task name.
    """
    import tensorflow as tf

    state = {n.removeprefix(STATE_PREFIX): x for n, x in raw.items() if is_tensor_of_state(n)}
    state = _of_this_version(state, fingerprint)
    columns = {n.removeprefix(_PACKED): x for n, x in state.items() if n.startswith(_PACKED)}
    of_context = {name: raw[name] for name in schema.raw_inputs(("context",))}
    shared = encode(of_context, ("context",), columns)
    tensors = state_tensors(model, _packed_histories(schema))
    kept = [(symbol, tf.cast(state[name], symbol.dtype)) for name, symbol in tensors.items()]
    return outputs_of_candidates(model, encode, schema, raw, shared, kept)


def _packed_histories(schema: FeatureSchema) -> list[str]:
    """Names of the model's inputs that are of histories."""
    of_rows = [f"{h.name}_{q.key}" for h in schema.histories for q in h.of_row]
    return [*(h.name for h in schema.histories), *of_rows]


def _of_this_version(state: Mapping[str, Any], fingerprint: int) -> dict[str, Any]:
    """The state without its fingerprint; running it is an error for another one."""
    import tensorflow as tf

    state = {name: tf.ensure_shape(x, x.shape) for name, x in state.items()}
    found = state.pop("fingerprint")
    text = f"Request: {OTHER_VERSION}: expected fingerprint {fingerprint}, found"
    ask = "Ask `user_state` for it again."
    check = tf.debugging.Assert(tf.equal(found, fingerprint), [text, found, ask])
    with tf.control_dependencies([check]):
        return {name: tf.identity(x) for name, x in state.items()}
