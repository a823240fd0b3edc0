"""State of a training at a step: variables, and the numbers of callbacks."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_infnet._base.finite import is_finite
from keras_infnet._keras_internals import make_training_variables
from keras_infnet.metrics.auc import EVALUATION_ROWS

_BEST = "best_weights"


def build_variables(model: keras.Model, element_spec: Any) -> None:
    """Makes the variables of metrics and optimizer, which TensorFlow makes in the first step."""

    def symbolic(spec: Any) -> keras.KerasTensor:
        return keras.KerasTensor(tuple(spec.shape), spec.dtype.name)

    make_training_variables(model, keras.tree.map_structure(symbolic, element_spec))


def variable_groups(model: keras.Model) -> dict[str, list[Any]]:
    """Variables by whose they are: the model's (with its seed generators'), optimizer's, metrics'.

    All must be built: before the first step, by `build_variables`.
    """
    known = {id(variable) for variable in model.metrics_variables}
    # What an evaluation counts begins anew with it.
    of_metrics = [v for v in model.metrics_variables if v.name != EVALUATION_ROWS]
    own = [variable for variable in model.variables if id(variable) not in known]
    return {"model": own, "optimizer": list(model.optimizer.variables), "metrics": of_metrics}


def describe(model: keras.Model) -> dict[str, Any]:
    """What must agree for a checkpoint to fit a model."""
    schema = getattr(model, "schema", None)
    return {
        "schema": getattr(schema, "fingerprint", None),
        "model": type(model).__name__,
        "optimizer": type(model.optimizer).__name__,
        "variables": {
            group: [[_plain(v.path), list(v.shape), str(v.dtype)] for v in variables]
            for group, variables in variable_groups(model).items()
        },
    }


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In words, what of `describe` differs."""
    names = {"schema": "schema (fingerprint)", "model": "model", "optimizer": "optimizer"}
    found = [
        f"{name} is {saved[key]} there and {here[key]} here"
        for key, name in names.items()
        if saved[key] != here[key]
    ]
    for group, variables in here["variables"].items():
        before = saved["variables"][group]
        if len(before) != len(variables):
            found.append(f"{group} has {len(before)} variables there and {len(variables)} here")
        for there, now in zip(before, variables, strict=False):
            if there != now:
                found.append(f"{group} variable {_shown(there)} there is {_shown(now)} here")
                break
    return found


def saved_arrays(
    model: keras.Model, callbacks: Iterable[keras.callbacks.Callback]
) -> Iterator[tuple[str, np.ndarray]]:
    """Values of all variables, and best weights that callbacks keep, by name.

    Raises:
        FloatingPointError: A variable of model or optimizer holds NaN or infinity.
    """
    for group, variables in variable_groups(model).items():
        for i, variable in enumerate(variables):
            array = keras.ops.convert_to_numpy(variable)
            if group != "metrics" and not is_finite(array):
                raise FloatingPointError(
                    f"Checkpoints: `{variable.path}` of the {group} holds NaN or infinity: the "
                    "training has diverged, and no checkpoint is written; those before it stay. "
                    "Lower the learning rate, or bound gradients with the optimizer's `clipnorm`."
                )
            yield f"{group}/{i}", array
    for number, callback in enumerate(callbacks):
        for i, array in enumerate(getattr(callback, _BEST, None) or ()):
            yield f"callback_{number}/{i}", np.asarray(array)


def assign(variables: Iterable[Any], group: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives the variables of a group their saved values."""
    for i, variable in enumerate(variables):
        value = arrays[f"{group}/{i}"]
        if value.dtype.kind == "V":
            # NumPy's format does not know bfloat16 by its name.
            value = value.view(keras.ops.convert_to_numpy(variable).dtype)
        variable.assign(value)


def callback_numbers(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Counters and best values of a callback, which JSON can hold."""
    numbers = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
        if not name.startswith("_") and isinstance(value, (bool, int, float, np.number))
    }
    best = getattr(callback, _BEST, None)
    return {"numbers": numbers, _BEST: 0 if best is None else len(best)}


def restore_callback(
    callback: keras.callbacks.Callback,
    number: int,
    saved: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Gives a callback its counters and best weights back."""
    vars(callback).update(saved["numbers"])
    if saved[_BEST]:
        best = [arrays[f"callback_{number}/{i}"] for i in range(saved[_BEST])]
        setattr(callback, _BEST, best)


def _plain(path: str) -> str:
    """A path without the numbers that Keras adds to names in use: a new start counts anew."""
    return re.sub(r"_\d+(?=_|/|$)", "", path)


def _shown(variable: list[Any]) -> str:
    path, shape, dtype = variable
    return f"`{path}` {tuple(shape)} {dtype}"
