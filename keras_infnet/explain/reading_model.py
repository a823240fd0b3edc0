"""A model that reads, inside an INFNet, what an explanation needs."""

from typing import Any

import keras
from keras import ops

from keras_infnet.models.infnet import INFNet, tasks_apart


def reading_model(model: INFNet, member: int) -> keras.Model:
    """From packed inputs to what one member does: one graph, that backends compile as a whole.

    Args:
        model: The model, whose weights it shares.
        member: Index of the member.

    Returns:
        A model with the outputs `blocks` (by index, `attention` and `gates`), `fields` (what field
        proxies are made of) and `heads` (what each task's head reads).
    """
    schema = model.schema
    layers = {layer.name: layer for layer in model.member(member).layers}
    outputs: dict[str, Any] = {
        "heads": {task: layers[f"{task}_head"].input for task in schema.task_names}
    }
    if "field_proxies" in layers:
        tokens = (-1, len(schema.field_names), model.config.dim)
        outputs["fields"] = ops.reshape(layers["field_proxies"].input, tokens)
    blocks = {}
    for i in range(model.config.num_blocks):
        attention = {
            memory: tasks_apart(_Weights(layer)(given), len(schema.tasks))
            for memory, (layer, given) in model.attention_calls(i, member).items()
        }
        gates = {
            tokens: _MeanGate(layers[name])(**_arguments(layers[name]))
            for tokens in ("fields", "history", "tasks")
            if (name := f"block_{i}_{tokens}_gate") in layers
        }
        if attention or gates:
            blocks[str(i)] = {"attention": attention, "gates": gates}
    if blocks:
        outputs["blocks"] = blocks
    reading = model.reading(outputs, member)
    # JAX compiles a whole sooner than each operation; TensorFlow takes longer to trace than to run.
    reading.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    return reading


def _arguments(gate: keras.layers.Layer) -> dict[str, Any]:
    """What a gate is called with."""
    called = gate._inbound_nodes[0].arguments
    tokens, proxies = called.args
    return {"tokens": tokens, "proxies": proxies, **called.kwargs}


class _Weights(keras.layers.Layer):
    """Attention weights of a layer, which stays as it is."""

    def __init__(self, attention: Any) -> None:
        super().__init__(dtype=attention.dtype_policy, name=f"{attention.name}_weights")
        self.attention = attention

    def build(self, arguments_shape: Any) -> None:
        pass

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.attention.attention_weights(**arguments)

    def compute_output_spec(self, arguments: dict[str, Any]) -> dict[str, keras.KerasTensor]:
        length = arguments["memory"].shape[1]
        return {
            group: keras.KerasTensor((None, queries.shape[1], length), dtype="float32")
            for group, queries in arguments["queries"].items()
        }


class _MeanGate(keras.layers.Layer):
    """Mean `(batch, dim)` of the gates of the tokens that are there; the layer stays as it is."""

    def __init__(self, gate: Any) -> None:
        super().__init__(dtype=gate.dtype_policy, name=f"{gate.name}_mean")
        self.gate = gate

    def build(self, tokens_shape: tuple, proxies_shape: tuple) -> None:
        pass

    def call(self, tokens: Any, proxies: Any, tokens_mask: Any = None) -> Any:
        gate = self.gate.channel_gates(tokens, proxies)
        if gate.shape[1] == 1 or tokens_mask is None:
            return ops.mean(gate, axis=1)
        there = ops.cast(ops.expand_dims(tokens_mask, -1), gate.dtype)
        return ops.sum(gate * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)

    def compute_output_spec(
        self, tokens: Any, proxies: Any, tokens_mask: Any = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.gate.dim), dtype=self.compute_dtype)
