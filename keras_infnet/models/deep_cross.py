"""A cross network and an MLP, beside each other or one after the other."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.network_parts import mlp, task_outputs
from keras_infnet.models.schema_tokens import SchemaTokens

Structure = Literal["parallel", "stacked"]


def check_structure(model: str, structure: str) -> None:
    """Raises a ValueError for a structure that is not known."""
    if structure not in ("parallel", "stacked"):
        raise ValueError(
            f'{model}: `structure` must be "parallel" or "stacked". Received: {structure=}'
        )


def deep_cross_outputs(
    embedded: EmbeddedInputs,
    given: Mapping[str, Any],
    make_layer: Callable[[str], keras.layers.Layer],
) -> dict[str, Any]:
    """One network: cross layers, MLP and heads on the flat tokens.

    Args:
        embedded: Inputs and their rows.
        given: Hyperparameters of the model.
        make_layer: Makes the cross layer of a name; it is called with `x_0` and `x_l`.

    Returns:
        Dict of outputs `(batch, 1)` by task name.
    """
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    x0 = x = SchemaTokens(embedded, given["event_context"]).flat()
    for i in range(given["num_cross_layers"]):
        x = make_layer(f"cross_{i}")(x0, x)
    if given["structure"] == "stacked":
        shared = mlp(x, given["hidden_dims"], dropout, dtype, name="deep")
    else:
        deep = mlp(x0, given["hidden_dims"], dropout, dtype, name="deep")
        shared = ops.concatenate([x, deep], axis=-1)
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)
