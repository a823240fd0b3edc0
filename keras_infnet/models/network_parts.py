"""What networks of all models are made of: hidden layers and heads."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_infnet.layers.cheap_dropout import CheapDropout
from keras_infnet.layers.task_head import TaskHead
from keras_infnet.schema.schema import FeatureSchema


def mlp(inputs: Any, widths: Sequence[int], dropout: float, dtype: Any, name: str) -> Any:
    """`Dense(relu)` and dropout for each width; layers are named `{name}_0` and so on."""
    for i, width in enumerate(widths):
        dense = keras.layers.Dense(width, activation="relu", dtype=dtype, name=f"{name}_{i}")
        inputs = dense(inputs)
        if dropout:
            drop = CheapDropout(dropout, dtype=dtype, name=f"{name}_dropout_{i}")
            inputs = drop(inputs)
    return inputs


def task_outputs(
    schema: FeatureSchema,
    representations: Mapping[str, Any],
    head_dim: int,
    dropout: float,
    dtype: Any,
) -> dict[str, Any]:
    """One head for each task, on its representation `(batch, width)`."""
    return {
        task.name: TaskHead(
            hidden_dim=head_dim,
            kind=task.kind,
            base_rate=task.base_rate,
            dropout=dropout,
            dtype=dtype,
            name=f"{task.name}_head",
        )(representations[task.name])
        for task in schema.tasks
    }
