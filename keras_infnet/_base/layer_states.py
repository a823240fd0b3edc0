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
            state["quantized"] = keras.saving.serialize_keras_object(layer.quantization_config)
        # Of embedding tables.
        if hasattr(layer, "freeze") and layer.frozen:
            state["frozen_rows"] = dict(layer.frozen)
        if state:
            states[str(place)] = {"is": type(layer).__name__, **state}
    return {"layers": states} if states else {}


def copy_layer_states(source: keras.Model, clone: keras.Model) -> None:
    """Makes what is inside the layers of a clone as it is in the source; they have equal names."""
    cloned = {layer.name: layer for layer in clone.layers}
    for layer in source.layers:
        other = cloned.get(layer.name)
        if isinstance(layer, keras.Model) and isinstance(other, keras.Model):
            copy_layer_states(layer, other)
        elif other is not None and type(other) is type(layer):
            restore_layer_states(other, layer_states(layer).get("layers", {}))


def restore_layer_states(model: keras.Model, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes the layers of a new model what `layer_states` found.

    Raises:
        ValueError: A layer is of another kind, so that the file is of another version of the model.
    """
    layers: list[Any] = layers_inside(model)
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
        if "quantized" in state and not layer.quantization_mode:
            config = keras.saving.deserialize_keras_object(state["quantized"])
            layer.quantize(config=config, type_check=False)
        for table, columns in state.get("frozen_rows", {}).items():
            layer.freeze(table, columns)
    # A layer sets those inside it too, and stands before them.
    for place, layer in enumerate(layers if states else ()):
        layer.trainable = states.get(str(place), {}).get("trainable", model.trainable)
