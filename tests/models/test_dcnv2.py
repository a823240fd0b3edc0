import numpy as np
import pytest

from keras_infnet.models import DCNv2
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
