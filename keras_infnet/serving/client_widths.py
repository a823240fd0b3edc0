"""Histories and bags of one width in every request, so that a server can batch requests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.client_inputs import PADDING, history_inputs


def fixed_width(schema: FeatureSchema, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Histories of `max_length` events and bags of `max_values` values, as the model reads them.

    Histories keep their newest events, bags their first values; what is shorter is padded on the
    right. TensorFlow Serving batches only requests that differ in the first dimension alone.

    Args:
        schema: The schema.
        inputs: Checked arrays of all or some inputs.

    Returns:
        The same arrays, with these widths.
    """
    specs = schema.raw_inputs()
    bags = {f.name: f for f in schema.bags}
    fixed = dict(inputs)
    for f in bags.values():
        for name in {f.name, f.weights} & inputs.keys():
            fill = 0.0 if name == f.weights else PADDING[specs[name][1]]
            fixed[name] = _width(inputs[name], 1, f.max_values, fill)
    for s in schema.histories:
        names = history_inputs(schema, s.name)
        if names[0] not in inputs:
            continue
        # The model drops missing events first: the newest are the last of those that are there.
        there = inputs[names[0]] != PADDING[specs[names[0]][1]]
        newest = np.sort(np.argsort(there, axis=1, kind="stable")[:, -s.max_length :], axis=1)
        for name in names:
            fill, values = PADDING[specs[name][1]], inputs[name]
            index = newest.reshape(newest.shape + (1,) * (values.ndim - 2))
            kept = np.take_along_axis(values, index, axis=1)
            fixed[name] = _width(kept, 1, s.max_length, fill)
            field = bags.get(name.removeprefix(f"{s.name}_"))
            if values.ndim == 3 and field is not None:
                fixed[name] = _width(fixed[name], 2, field.max_values, fill)
    return fixed


def _width(values: np.ndarray, axis: int, width: int, fill: Any) -> np.ndarray:
    values = values[(slice(None),) * axis + (slice(width),)]
    room = [(0, 0)] * values.ndim
    room[axis] = (0, width - values.shape[axis])
    return np.pad(values, room, constant_values=fill)
