"""Several networks on the same embedding tables, whose probabilities are averaged."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.member_mean import MemberMean
from keras_infnet.models.embedded_inputs import EmbeddedInputs

_ROWS = "embedded_inputs"


def member_outputs(
    embedded: EmbeddedInputs,
    members: int,
    network: Callable[[EmbeddedInputs], dict[str, Any]],
) -> dict[str, Any]:
    """Outputs of one network, or of several that differ in their random start alone.

    Each of several is a functional model of its own, `member_0` and so on, so that layers keep
    their names; only the embedding tables are shared.

    Args:
        embedded: Inputs and their rows.
        members: Number of networks.
        network: Makes one network: from inputs to outputs `(batch, 1)` by task name.

    Returns:
        Dict of outputs by task name, from `MemberMean` if there are several networks.
    """
    if members == 1:
        return network(embedded)
    rows = keras.Model(embedded.inputs, embedded.tensors, name=_ROWS)(embedded.inputs)
    outputs = []
    for member in range(members):
        inner = embedded.placeholders()
        with keras.name_scope(f"member_{member}"):
            output = network(inner)
        model = keras.Model(inner.tensors, output, name=f"member_{member}")
        outputs.append(model(rows))
    return {
        task: MemberMean(dtype="float32", name=f"{task}_mean")(
            ops.concatenate([of_member[task] for of_member in outputs], axis=-1)
        )
        for task in embedded.schema.task_names
    }


def network_of(model: keras.Model, member: int) -> keras.Model:
    """The functional model that holds the layers of one member: the model itself if it is alone.

    Args:
        model: Model whose outputs are from `member_outputs`.
        member: Index of the member.

    Returns:
        The model; `get_layer` finds the member's layers in it.

    Raises:
        ValueError: The model has no such member.
    """
    members = model.hyperparameters.get("members", 1)
    if not 0 <= member < members:
        raise ValueError(f"{type(model).__name__}: no member {member}; it has {members}.")
    return model if members == 1 else model.get_layer(f"member_{member}")


def rows_model(model: keras.Model) -> keras.Model:
    """From packed inputs to what the members of a model with several read."""
    return model.get_layer(_ROWS)


def read_tensors(model: keras.Model, inputs: Any, tensors: Any, member: int) -> Any:
    """Values of symbolic tensors inside a member's network, such as a layer's `output`.

    Args:
        model: Model whose outputs are from `member_outputs`.
        inputs: Dict of packed inputs.
        tensors: Any structure of tensors of `network_of(model, member)`.
        member: Index of the member.

    Returns:
        The same structure, with values.
    """
    network = network_of(model, member)
    if network is not model:
        inputs = rows_model(model)(inputs)
    return keras.Model(network.input, tensors)(inputs)
