import itertools

import keras
import numpy as np
import pytest

from keras_infnet import BinaryTask, RegressionTask
from keras_infnet.models import FM
from tests import tiny
from tests.reference.textbook import Weights, sigmoid
from tests.reference.tokens import flat_tokens, interaction_tokens


@pytest.mark.parametrize("history", ["exposures", "positives", "none"])
def test_outputs_equal_the_formula(history):
    schema = tiny.schema(history)
    model = tiny.randomise(FM(schema, dim=8), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)
    flat, tokens = flat_tokens(w, schema, x), interaction_tokens(w, schema, x)
    pairs = itertools.combinations(range(tokens.shape[1]), 2)
    interactions = sum(tokens[:, j] * tokens[:, k] for j, k in pairs)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        head = w / f"{task}_head" / "output"
        linear, weight = np.split(head["kernel"], [flat.shape[1]])
        logits = flat @ linear + interactions @ weight + head["bias"]
        np.testing.assert_allclose(outputs[task], sigmoid(logits), atol=1e-5)


def test_it_starts_near_the_base_rates():
    keras.utils.set_random_seed(0)
    model = FM(tiny.schema("none", features=tiny.FEATURES[:4]), dim=4)
    outputs = tiny.predict(model, tiny.inputs(model.schema))
    for task in model.schema.tasks:
        (rate,) = model.schema.base_rate(task.name)
        np.testing.assert_allclose(outputs[task.name], rate, rtol=0.1)


@pytest.mark.parametrize(
    ("task", "rates", "bias"),
    [
        (RegressionTask("watch_time"), {"watch_time": 12.5}, 12.5),
        (RegressionTask("watch_time"), {}, 0.0),
        (BinaryTask("follow"), {}, 0.0),
        (BinaryTask("follow"), {"follow": 0.0}, np.log(1e-6 / (1 - 1e-6))),
    ],
)
def test_the_bias_starts_at_the_mean_label(task, rates, bias):
    model = FM(tiny.schema("none", tasks=(task,), rates=rates), dim=4)
    head = model.get_layer(f"{task.name}_head")
    np.testing.assert_allclose(head.output_layer.bias, [bias], rtol=1e-5)


def test_dropout_is_only_in_training():
    keras.utils.set_random_seed(0)
    model = tiny.randomise(FM(tiny.schema("none"), dim=4, dropout=0.5))
    x = tiny.inputs(model.schema)
    expected, again = tiny.predict(model, x)["click"], tiny.predict(model, x)["click"]
    np.testing.assert_array_equal(again, expected)
    assert np.abs(tiny.train_outputs(model, x)["click"] - expected).max() > 1e-3


def test_a_width_of_zero_is_an_error():
    with pytest.raises(ValueError, match="FM: `dim` must be 1 or more"):
        FM(tiny.schema(), dim=0)
