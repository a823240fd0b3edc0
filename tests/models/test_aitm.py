import keras
import numpy as np
import pytest

from keras_infnet._base.weights_of_tasks import weights_of_tasks
from keras_infnet.models import AITM
from keras_infnet.models.aitm import PathPenalty
from tests import tiny
from tests.models.test_esmm import PARENTS, PATH, path_labels
from tests.reference import funnel as reference
from tests.reference.textbook import Weights, sigmoid
from tests.reference.tokens import flat_tokens

SIZES = {"dim": 4, "hidden_dims": (7, 6), "head_dim": 5}


def made(history="none", tasks=PATH, **arguments):
    schema = tiny.schema(history, tasks=tasks, rates={"long_view": 0.01})
    return tiny.randomise(AITM(schema, **SIZES, **arguments), scale=0.5)


@pytest.mark.parametrize("history", ["exposures", "none"])
def test_outputs_equal_the_formula(history):
    model = made(history)
    x = tiny.inputs(model.schema, batch=16)
    expected, shares = reference.aitm(Weights.of(model), model.schema, x, PARENTS, 2)
    assert all(np.ptp(share) > 0.01 for share in shares.values())
    outputs = tiny.predict(model, x)
    for task in PARENTS:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


@pytest.mark.parametrize("members", [1, pytest.param(2, marks=pytest.mark.one_backend)])
def test_the_loss_has_the_penalty_in_training_alone(members):
    model = made(members=members, penalty=0.7)
    x, y = tiny.inputs(model.schema, batch=16), path_labels()
    model.compile(keras.optimizers.SGD(0.0), weighted_metrics=[], **tiny.quick())
    outputs = tiny.train_outputs(model, x)
    outputs = {t: np.array(p, "float64").reshape(16, -1) for t, p in outputs.items()}
    if members == 1:
        p, _ = reference.aitm(Weights.of(model), model.schema, x, PARENTS, 2)
        np.testing.assert_allclose(outputs["like"], p["like"], atol=1e-5)
    logs = model.train_on_batch(x, y, return_dict=True)
    of_tasks = {t: reference.entropy(y[t], p) for t, p in outputs.items()}
    for task, loss in of_tasks.items():
        np.testing.assert_allclose(logs[f"{task}_loss"], loss, rtol=1e-4)
    penalty = reference.penalty(outputs, PARENTS)
    assert penalty > 0.01
    np.testing.assert_allclose(logs["loss"], sum(of_tasks.values()) + 0.7 * penalty, rtol=1e-4)
    evaluated = model.test_on_batch(x, y, return_dict=True)
    of_tasks = sum(evaluated[f"{task}_loss"] for task in PARENTS)
    np.testing.assert_allclose(evaluated["loss"], of_tasks, rtol=1e-5)


def test_the_penalty_is_what_rises_along_the_path():
    layer = PathPenalty(0.6)
    y, parent = (keras.ops.convert_to_tensor([[a], [b]]) for a, b in ((0.5, 0.2), (0.3, 0.4)))
    assert layer(y, parent, training=True) is y
    # (.5 - .3) / 2, times .6; the other row falls.
    np.testing.assert_allclose(layer.losses, [0.06], rtol=1e-5)
    layer(parent - 0.25, parent, training=True)
    np.testing.assert_array_equal(layer.losses, [0.0])
    layer(y, parent)
    assert not layer.losses


@pytest.mark.one_backend
def test_without_keys_both_have_half_a_share():
    model = made()
    for task in ("like", "long_view"):
        kernel = model.get_layer(f"{task}_keys").kernel
        kernel.assign(np.zeros(kernel.shape))
    x = tiny.inputs(model.schema)
    expected, shares = reference.aitm(Weights.of(model), model.schema, x, PARENTS, 2)
    assert all((share == 0.5).all() for share in shares.values())
    np.testing.assert_allclose(tiny.predict(model, x)["like"], expected["like"], atol=1e-5)


@pytest.mark.one_backend
def test_a_task_knows_nothing_of_those_after_it():
    model = made()
    x = tiny.inputs(model.schema)
    before = tiny.predict(model, x)
    for weight in model.weights:
        if weight.path.startswith("like_"):
            weight.assign(weight + 0.5)
    after = tiny.predict(model, x)
    np.testing.assert_array_equal(after["click"], before["click"])
    assert all(np.abs(after[t] - before[t]).max() > 1e-3 for t in ("like", "long_view"))


@pytest.mark.one_backend
def test_one_task_is_a_plain_tower():
    model = made(tasks=tiny.TASKS[:1])
    x, w = tiny.inputs(model.schema), Weights.of(model)
    tower = reference.tower(flat_tokens(w, model.schema, x), w, "click", 2)
    expected = sigmoid(reference.head(tower, w, "click"))
    np.testing.assert_allclose(tiny.predict(model, x)["click"], expected, atol=1e-5)
    assert not any("transfer" in weight.path for weight in model.weights)


@pytest.mark.one_backend
def test_without_a_penalty_there_is_no_layer_of_it():
    layers = {layer.name for layer in made(penalty=0.0).layers}
    assert layers.isdisjoint({"like_penalty", "long_view_penalty"})
    assert {"like_penalty", "long_view_penalty"} <= {layer.name for layer in made().layers}


@pytest.mark.one_backend
def test_a_balance_knows_whose_weights_are_whose():
    """The penalty reads the parent's output, and makes its head no other task's."""
    model = made()
    found = weights_of_tasks(model, model.schema.task_names)
    for task in PARENTS:
        assert found.owner(model.get_layer(f"{task}_head").output_layer.kernel) == task
    assert found.owner(model.get_layer("long_view_tower_0").kernel) == "long_view"
    # Handed on along the path.
    assert found.shared(model.get_layer("click_tower_0").kernel, 3)
