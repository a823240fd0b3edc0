"""What is computed inside a model: inputs and outputs of its layers."""

import keras


def output_of(model, name, inputs, call=0):
    """What the layer of this name gives in its `call`-th call."""
    return _computed(model, inputs, _call(model, name, call).outputs[0])


def input_of(model, name, inputs, call=0):
    """What the layer of this name reads first."""
    return _computed(model, inputs, _call(model, name, call).input_tensors[0])


def _call(model, name, call):
    return model.get_layer(name)._inbound_nodes[call]


def _computed(model, inputs, tensor):
    inner = keras.Model(model.input, {"found": tensor})
    return keras.ops.convert_to_numpy(inner(inputs)["found"])
