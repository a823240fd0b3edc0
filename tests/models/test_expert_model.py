import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_infnet.models import MMoE
from tests import tiny
from tests.reference import experts as reference
from tests.reference.textbook import Weights

SIZES = {"dim": 4, "num_experts": 3, "expert_dims": (6,), "head_dim": 4}


def two_members():
    return tiny.randomise(MMoE(tiny.schema(), members=2, **SIZES), scale=0.4)


def test_shares_of_a_member_are_those_of_its_network():
    model = two_members()
    x = tiny.inputs(model.schema)
    for member in range(2):
        variables = {
            v.path.removeprefix(f"member_{member}/"): np.array(v, "float64") for v in model.weights
        }
        weights = Weights(variables)
        _, expected = reference.mmoe(weights, model.schema, x, dataclasses.asdict(model.config))
        found = model.expert_shares(x, member)
        for task in model.schema.task_names:
            for expert in expected[task]:
                np.testing.assert_allclose(found[task][expert], expected[task][expert], atol=1e-5)


def test_a_member_that_is_not_there_is_an_error():
    model = two_members()
    with pytest.raises(ValueError, match="MMoE: no member 2; it has 2"):
        model.expert_shares(tiny.inputs(model.schema), member=2)


def test_a_dataset_gives_what_its_rows_give():
    model = tiny.randomise(MMoE(tiny.schema("none"), **SIZES))
    x, (y, w) = tiny.inputs(model.schema), tiny.labels(model.schema)
    expected = model.expert_shares(x)
    rows = tf.data.Dataset.from_tensor_slices((x, y, w))
    for dataset in (rows.batch(3), rows.map(lambda x, y, w: x).batch(4)):
        found = model.expert_shares(dataset)
        for gate in expected:
            for expert in expected[gate]:
                assert found[gate][expert].shape == (6,)
                np.testing.assert_allclose(found[gate][expert], expected[gate][expert], atol=1e-6)
    with pytest.raises(ValueError, match="expert_shares: the dataset has no batch"):
        model.expert_shares(rows.batch(3).take(0))


def test_shares_are_float32_in_mixed_precision_and_change_with_the_weights():
    model = MMoE(tiny.schema("none"), dtype="mixed_bfloat16", **SIZES)
    x, shares_of = tiny.inputs(model.schema), model.expert_shares_function()
    first = shares_of(x)["like"]
    assert {s.dtype.name for s in first.values()} == {"float32"}
    np.testing.assert_allclose(sum(first.values()), 1, atol=0.02)
    tiny.randomise(model)
    second = shares_of(x)["like"]
    assert np.abs(first["expert_0"] - second["expert_0"]).max() > 0.02
