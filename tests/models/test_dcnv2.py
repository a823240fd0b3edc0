import numpy as np
import pytest

from keras_infnet.models import GDCN, DCNv2
from tests import tiny
from tests.reference import interactions
from tests.reference.textbook import Weights, dense, relu, sigmoid
from tests.reference.tokens import flat_tokens

SIZES = {"dim": 8, "num_cross_layers": 2, "hidden_dims": (10, 6), "head_dim": 5}


@pytest.mark.parametrize("projection_dim", [None, 3])
@pytest.mark.parametrize(
    ("history", "structure"),
    [("exposures", "parallel"), ("positives", "stacked"), ("none", "parallel")],
)
def test_outputs_equal_the_formula(history, structure, projection_dim):
    schema = tiny.schema(history)
    model = DCNv2(schema, projection_dim=projection_dim, structure=structure, **SIZES)
    tiny.randomise(model, scale=0.15)
    x, w = tiny.inputs(schema), Weights.of(model)
    x0 = crossed = flat_tokens(w, schema, x)
    for i in range(2):
        crossed = interactions.cross(w / f"cross_{i}", x0, crossed)
    deep = x0 if structure == "parallel" else crossed
    for i in range(2):
        deep = relu(dense(deep, w / f"deep_{i}"))
    shared = np.concatenate([crossed, deep], 1) if structure == "parallel" else deep
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        head = w / f"{task}_head"
        expected = sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        np.testing.assert_allclose(outputs[task], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structure": "serial"}, '"parallel" or "stacked". Received: structure=.serial'),
        ({"num_cross_layers": 0}, "DCNv2: `num_cross_layers` must be 1 or more"),
        ({"projection_dim": 0}, "DCNv2: `projection_dim` must be 1 or more"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        DCNv2(tiny.schema("none"), **arguments)


def made(history, **arguments):
    schema = tiny.schema(history)
    model = tiny.randomise(GDCN(schema, **SIZES, **arguments), scale=0.15)
    return model, tiny.inputs(schema)


@pytest.mark.parametrize(
    ("history", "structure"),
    [("exposures", "parallel"), ("positives", "stacked"), ("none", "parallel")],
)
def test_outputs_and_gates_of_gdcn_equal_the_formula(history, structure):
    model, x = made(history, structure=structure)
    w, gates = Weights.of(model), model.gates(x)
    c0 = crossed = flat_tokens(w, model.schema, x)
    for i in range(2):
        gate = interactions.gate(w / f"cross_{i}", crossed)
        np.testing.assert_allclose(gates[i], gate, atol=1e-5)
        crossed = interactions.gated_cross(w / f"cross_{i}", c0, crossed)
    assert len(gates) == 2
    deep = c0 if structure == "parallel" else crossed
    for i in range(2):
        deep = relu(dense(deep, w / f"deep_{i}"))
    shared = np.concatenate([crossed, deep], 1) if structure == "parallel" else deep
    outputs = tiny.predict(model, x)
    for task in model.schema.task_names:
        head = w / f"{task}_head"
        expected = sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        np.testing.assert_allclose(outputs[task], expected, atol=1e-5)


def test_gates_of_each_member_can_be_read():
    model, x = made("none", members=2)
    variables = Weights.of(model)
    c0 = flat_tokens(variables, model.schema, x)
    for member in range(2):
        w = variables / f"member_{member}" / "cross_0"
        np.testing.assert_allclose(
            model.gates(x, member=member)[0], interactions.gate(w, c0), atol=1e-5
        )


def test_gates_of_a_member_that_is_not_there_are_an_error():
    model, x = made("none")
    with pytest.raises(ValueError, match="GDCN: no member 1; it has 1"):
        model.gates(x, member=1)


def test_biases_of_gates_start_as_in_the_authors_code():
    model = GDCN(tiny.schema("none"), dim=8)
    biases = [np.array(model.get_layer(f"cross_{i}").projection.bias) for i in range(3)]
    joined = np.concatenate(biases)
    assert (joined >= 0).all() and (joined < 1).all() and 0.4 < joined.mean() < 0.6
    assert np.abs(biases[0] - biases[1]).max() > 0.1


def test_an_unknown_structure_of_gdcn_is_an_error():
    with pytest.raises(ValueError, match='GDCN: `structure` must be "parallel" or "stacked"'):
        GDCN(tiny.schema("none"), structure="serial")
