import numpy as np
import pytest

from keras_infnet.models import DIN
from tests import tiny
from tests.reference import sequences
from tests.reference.textbook import Weights

SIZES = {"dim": 8, "activation_dims": (6, 5), "hidden_dims": (10, 6), "head_dim": 5}


@pytest.mark.parametrize(
    ("history", "normalize"), [("exposures", False), ("positives", True), ("mixed", False)]
)
def test_outputs_equal_the_formula(history, normalize):
    schema = tiny.schema(history)
    model = tiny.randomise(DIN(schema, normalize=normalize, **SIZES), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)

    def read(events, cand, ages):
        return sequences.activation_pooling(w / "activation_unit", events, cand, normalize)

    expected, outputs = sequences.predict(w, schema, x, read), tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_a_schema_without_history_is_an_error():
    with pytest.raises(ValueError, match="DIN: the schema has no history.*History.*STEM"):
        DIN(tiny.schema("none"))


def test_widths_below_one_are_an_error():
    with pytest.raises(ValueError, match="DIN: `activation_dims` must be 1 or more"):
        DIN(tiny.schema(), activation_dims=(8, 0))
