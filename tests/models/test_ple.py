import dataclasses

import numpy as np
import pytest

from keras_infnet import BinaryTask
from keras_infnet.models import PLE
from tests import tiny
from tests.reference import experts as reference
from tests.reference.textbook import Weights

SIZES = {
    "dim": 4,
    "num_shared_experts": 1,
    "num_task_experts": 2,
    "expert_dims": (6, 5),
    "head_dim": 4,
}


@pytest.mark.parametrize(
    ("history", "num_levels"), [("exposures", 3), ("positives", 2), ("none", 1)]
)
def test_outputs_and_shares_equal_the_formula(history, num_levels):
    schema = tiny.schema(history)
    model = tiny.randomise(PLE(schema, num_levels=num_levels, **SIZES), scale=0.4)
    x = tiny.inputs(schema)
    expected, shares = reference.ple(Weights.of(model), schema, x, dataclasses.asdict(model.config))
    outputs, found = tiny.predict(model, x), model.expert_shares(x)
    assert {gate: tuple(experts) for gate, experts in shares.items()} == model.expert_gates
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)
    for gate in shares:
        for expert in shares[gate]:
            np.testing.assert_allclose(found[gate][expert], shares[gate][expert], atol=1e-5)


def test_the_last_level_has_no_shared_gate():
    gates = PLE(tiny.schema("none"), num_levels=2).expert_gates
    assert "level_0_shared" in gates and "level_1_shared" not in gates


def test_a_task_called_shared_is_an_error():
    with pytest.raises(ValueError, match='PLE: a task is called "shared".*Rename the task'):
        PLE(tiny.schema("none", tasks=(BinaryTask("click"), BinaryTask("shared"))))


def test_no_level_is_an_error():
    with pytest.raises(ValueError, match="PLE: `num_levels` must be 1 or more. Received: 0"):
        PLE(tiny.schema("none"), num_levels=0)
