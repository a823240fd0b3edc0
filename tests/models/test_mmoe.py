import dataclasses

import numpy as np
import pytest

from keras_infnet.models import MMoE, OMoE
from tests import tiny
from tests.reference import experts as reference
from tests.reference.textbook import Weights

SIZES = {"dim": 4, "num_experts": 3, "expert_dims": (6, 5), "head_dim": 4}


@pytest.mark.parametrize("history", ["exposures", "positives", "none"])
@pytest.mark.parametrize("build", [MMoE, OMoE])
def test_outputs_and_shares_equal_the_formula(build, history):
    schema = tiny.schema(history)
    model = tiny.randomise(build(schema, **SIZES), scale=0.4)
    x, textbook = tiny.inputs(schema), {MMoE: reference.mmoe, OMoE: reference.omoe}[build]
    expected, shares = textbook(Weights.of(model), schema, x, dataclasses.asdict(model.config))
    outputs, found = tiny.predict(model, x), model.expert_shares(x)
    assert {gate: tuple(experts) for gate, experts in shares.items()} == model.expert_gates
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)
    for gate in shares:
        for expert in shares[gate]:
            np.testing.assert_allclose(found[gate][expert], shares[gate][expert], atol=1e-5)


@pytest.mark.parametrize("build", [MMoE, OMoE])
def test_one_expert_is_an_error(build):
    with pytest.raises(ValueError, match="a gate needs 2 or more experts"):
        build(tiny.schema("none"), num_experts=1)
