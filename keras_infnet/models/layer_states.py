"""What a file keeps of a model's layers besides weights: which are frozen or quantised."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_infnet._keras_internals import layers_inside


def layer_states(model: keras.Model) -> dict[str, Any]:
    """What of a model's layers is not as the model makes them, as an entry of its config.

    Args:
        model: A model whose layers are made anew in the same order.

    Returns:
        `{"layers": {place: state}}`, or nothing where all are as they were made.
    """
    states: dict[str, dict[str, Any]] = {}
    for place, layer in enumerate(layers_inside(model)):
        state: dict[str, Any] = {}
        if layer.trainable != model.trainable:
            state["trainable"] = layer.trainable
        if getattr(layer, "quantization_mode", None):
            state["quantized"] = layer.quantization_mode
        if getattr(layer, "given_tables", None):
            state["given_tables"] = layer.given_tables
        if state:
            states[str(place)] = {"is": type(layer).__name__, **state}
    return {"layers": states} if states else {}


def restore_layer_states(model: keras.Model, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes the layers of a new model what `layer_states` found.

    Raises:
        ValueError: A layer is of another kind, so that the file is of another version of the model.
    """
    layers = layers_inside(model)
    for place, state in states.items():
        found = type(layers[int(place)]).__name__ if int(place) < len(layers) else "none"
        if found != state["is"]:
            raise ValueError(
                f"{type(model).__name__}: the file's layer {place} is a {state['is']}, and the "
                f"model's {found}; the file is of another version of the model. Build the model "
                "and use `load_weights`."
            )
    for place, layer in enumerate(layers):
        state = states.get(str(place), {})
        if "quantized" in state:
            layer.quantize(state["quantized"], type_check=False)
        if "given_tables" in state:
            layer.give_tables(state["given_tables"])
    # A layer sets those inside it too, and stands before them.
    for place, layer in enumerate(layers if states else ()):
        layer.trainable = states.get(str(place), {}).get("trainable", model.trainable)
