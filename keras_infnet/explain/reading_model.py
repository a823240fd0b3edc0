"""A model that reads, inside an INFNet, what an explanation needs."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet.models.infnet import INFNet
from keras_infnet.models.members import network_of, rows_model


def reading_model(model: INFNet, member: int) -> keras.Model:
    """From packed inputs to what one member does: one graph, that backends compile as a whole.

    Args:
        model: The model, whose weights it shares.
        member: Index of the member.

    Returns:
        A model with the outputs `blocks` (by index, `attention` and `gates`), `fields` (what field
        proxies are made of) and `heads` (what each task's head reads).
    """
    network = network_of(model, member)
    layers = {layer.name: layer for layer in network.layers}
    outputs: dict[str, Any] = {
        "heads": {task: layers[f"{task}_head"].input for task in model.schema.task_names}
    }
    if "field_proxies" in layers:
        outputs["fields"] = layers["flat_fields"].input
    blocks = {
        str(i): _BlockReading(layers[f"block_{i}"])(_plain(state))
        for i, state in enumerate(model._block_states[member])
        if layers[f"block_{i}"].flow is not None or layers[f"block_{i}"].gates
    }
    if blocks:
        outputs["blocks"] = blocks
    reading = keras.Model(network.input, outputs)
    if network is not model:
        inputs = model.input
        reading = keras.Model(inputs, reading(rows_model(model)(inputs)))
    # JAX compiles a whole sooner than each operation; TensorFlow takes longer to trace than to run.
    reading.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    return reading


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state in plain dicts: JAX does not look into Keras's tracked ones."""
    return {n: dict(x) if isinstance(x, Mapping) else x for n, x in state.items()}


class _BlockReading(keras.layers.Layer):
    """Attention weights and channel gates of a block, which stays as it is."""

    def __init__(self, block: Any) -> None:
        super().__init__(dtype=block.dtype_policy, name=f"{block.name}_reading")
        self.block = block

    def build(self, state_shape: Mapping[str, Any]) -> None:
        pass

    def call(self, state: Mapping[str, Any]) -> dict[str, Any]:
        gates = self.block.channel_gates(state)
        return {
            "attention": self.block.attention_weights(state),
            "gates": {tokens: _mean_gate(tokens, gate, state) for tokens, gate in gates.items()},
        }

    def compute_output_spec(self, state: Mapping[str, Any]) -> dict[str, Any]:
        # JAX can't trace lengths that are unknown, as those of histories that may come shorter.
        return super().compute_output_spec(keras.tree.map_structure(_of_known_length, state))


def _of_known_length(tensor: Any) -> keras.KerasTensor:
    batch, *sizes = tensor.shape
    return keras.KerasTensor((batch, *(size or 1 for size in sizes)), dtype=tensor.dtype)


def _mean_gate(tokens: str, gate: Any, state: Mapping[str, Any]) -> Any:
    """Mean `(batch, dim)` of the gates of the tokens that are there."""
    if gate.shape[1] == 1 or tokens != "history":
        return ops.mean(gate, axis=1)
    there = ops.cast(ops.expand_dims(state["history_mask"], -1), gate.dtype)
    return ops.sum(gate * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)
