import ast
import importlib
import inspect

import keras
import numpy as np
import pytest

from keras_infnet import _keras_internals
from keras_infnet._backend.tensorflow_internals import TENSORFLOW_INTERNALS
from keras_infnet._keras_internals import INTERNALS, Internal
from tests.house.source import PACKAGE, python_files
from tests.house.test_imports import run_python

BACKEND = keras.backend.backend()
ALL = INTERNALS + TENSORFLOW_INTERNALS
HERE = [i for i in INTERNALS if i.backend in (None, BACKEND)]


def shown(internal: Internal) -> str:
    return f"{internal.owner}.{internal.name}"


def made(owner: str):
    """An object of a class: some names are there only once one is made."""
    if owner == "keras.Variable":
        return keras.Variable([0.0])
    if owner == "tensorflow.data.Dataset":
        import tensorflow as tf

        return tf.data.Dataset.range(3)
    if owner.startswith("tensorflow."):
        return importlib.import_module(owner)
    if owner == "keras.Model":
        x = keras.Input((2,))
        return keras.Model(x, keras.layers.Dense(1)(x))
    if owner == "keras.optimizers.LossScaleOptimizer":
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    optimizer = {
        "keras.optimizers.Optimizer": keras.optimizers.SGD,
        "keras.optimizers.Adagrad": keras.optimizers.Adagrad,
        "keras.optimizers.Adam": lambda: keras.optimizers.Adam(amsgrad=True),
    }[owner]()
    optimizer.build([keras.Variable([0.0])])
    return optimizer


@pytest.mark.parametrize("internal", [*HERE, *TENSORFLOW_INTERNALS], ids=shown)
def test_the_installed_version_has_each_name(internal):
    package = importlib.import_module(internal.owner.split(".")[0])
    assert hasattr(made(internal.owner), internal.name), (
        f"{package.__name__} {package.__version__}: {shown(internal)} is gone, which is needed "
        f"for: {internal.use}."
    )


def test_the_other_backend_has_its_own_names():
    other = {"tensorflow": "jax", "jax": "tensorflow"}[BACKEND]
    code = "from tests.house.test_keras_internals import lacking; print(lacking())"
    child = run_python(code, KERAS_BACKEND=other)
    assert child.stdout.strip().splitlines()[-1:] == ["[]"], child.stdout + child.stderr


def lacking() -> list[str]:
    return [shown(i) for i in HERE if i.backend and not hasattr(made(i.owner), i.name)]


def test_what_a_function_does_itself_is_named_after_it():
    functions = {
        name
        for name, function in inspect.getmembers(_keras_internals, inspect.isfunction)
        if function.__module__ == _keras_internals.__name__
    }
    assert functions == {i.use for i in INTERNALS if not i.rooms}


def names_in(path) -> set[str]:
    """Attributes that a file reads, and functions that it defines."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    read = {ast.unparse(n): n.attr for n in nodes if isinstance(n, ast.Attribute)}
    # The rows of our data have a layout too.
    read.pop("self._layout", None)
    return {*read.values(), *(n.name for n in nodes if isinstance(n, ast.FunctionDef))}


def test_no_other_room_names_them():
    # Several classes of ours have `_inputs`.
    rooms = {i.name: i.rooms for i in ALL if i.name != "_inputs"}
    found = {
        (name, path.relative_to(PACKAGE).parts[0])
        for path in python_files("keras_infnet")
        if path.name not in ("_keras_internals.py", "tensorflow_internals.py")
        for name in names_in(path) & set(rooms)
    }
    allowed = {(name, room) for name in rooms for room in rooms[name]}
    beyond, left = sorted(found - allowed), sorted(allowed - found)
    assert not beyond, f"{beyond}: put it behind a function of `_keras_internals`."
    assert not left, f"{left}: no longer named there; take the room from the table."


def test_calls_come_in_the_order_of_the_graph():
    x = keras.Input((2,), name="x")
    y = keras.layers.Dense(3, name="a")(x)
    model = keras.Model(x, keras.layers.Add(name="c")([y, keras.layers.Dense(3, name="b")(y)]))
    calls = list(_keras_internals.calls_in_order(model))
    assert [call.operation.name for call in calls] == ["a", "b", "c"]
    values = {id(tensor): np.ones((1, 3)) for tensor in calls[2].input_tensors}
    arguments, keywords = calls[2].arguments.fill_in(values)
    np.testing.assert_array_equal(calls[2].operation(*arguments, **keywords), [[2, 2, 2]])


def test_variables_of_training_are_made_before_the_first_step():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("adam", "mse", weighted_metrics=["mae"])
    batch = (keras.KerasTensor((4, 2)), keras.KerasTensor((4, 1)), None)
    _keras_internals.make_training_variables(model, batch)
    assert model.optimizer.built and model.metrics_variables
    assert not _keras_internals.is_distributed(model)
