import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from keras_infnet import BinaryTask
from keras_infnet.models import STEM
from tests import tiny
from tests.gradients import gradients
from tests.reference import experts as reference
from tests.reference.textbook import Weights

SIZES = {
    "dim": 3,
    "task_dim": 2,
    "num_shared_experts": 1,
    "num_task_experts": 2,
    "expert_dims": (6, 5),
    "gate_dims": (7,),
    "head_dim": 4,
}
TASKS = ("click", "like", "long_view")


@functools.cache
def make(history):
    schema = tiny.schema(history)
    return tiny.randomise(STEM(schema, **SIZES), scale=0.4), schema


@pytest.mark.parametrize("history", ["exposures", "positives", "none"])
def test_outputs_and_shares_equal_the_formula(history):
    model, schema = make(history)
    x = tiny.inputs(schema)
    expected, shares = reference.stem(
        Weights.of(model), schema, x, dataclasses.asdict(model.config)
    )
    outputs, found = tiny.predict(model, x), model.expert_shares(x)
    assert {gate: tuple(experts) for gate, experts in shares.items()} == model.expert_gates
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)
    for gate in shares:
        for expert in shares[gate]:
            np.testing.assert_allclose(found[gate][expert], shares[gate][expert], atol=1e-5)


@functools.cache
def gradients_of(task):
    """Absolute gradients of one task's loss, by owner: a task or "shared"."""
    model, schema = make("exposures")
    found = gradients(model, tiny.inputs(schema), lambda outputs: ops.sum(ops.log(outputs[task])))
    owned = {owner: {} for owner in (*TASKS, "shared")}
    for weight in model.trainable_variables:
        gradient = found[weight.path]
        gradient = np.zeros(weight.shape) if gradient is None else np.abs(gradient)
        tables = ("fused_embedding/", "number_embedding/")
        if weight.path.startswith(tables) or "_projection/" in weight.path:
            columns = np.split(gradient, [3, 5, 7], axis=-1)
            for owner, part in zip(("shared", *TASKS), columns, strict=True):
                owned[owner][weight.path] = part
        else:
            owner = next((t for t in TASKS if weight.path.startswith(f"{t}_")), "shared")
            owned[owner][weight.path] = gradient
    return owned


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_reaches_its_own_and_shared_weights_and_none_of_another_task(task):
    for owner, of_owner in gradients_of(task).items():
        assert {"fused_embedding/embeddings", "image_projection/kernel"} < set(of_owner)
        assert any("_experts/" in path for path in of_owner)
        for path, gradient in of_owner.items():
            assert np.any(gradient) == (owner in (task, "shared")), (owner, path)


def test_a_task_called_shared_is_an_error():
    with pytest.raises(ValueError, match='STEM: a task is called "shared".*Rename the task'):
        STEM(tiny.schema("none", tasks=(BinaryTask("click"), BinaryTask("shared"))))


def test_a_width_below_one_is_an_error():
    with pytest.raises(ValueError, match="STEM: `task_dim` must be 1 or more. Received: 0"):
        STEM(tiny.schema("none"), task_dim=0)
