import keras
import numpy as np
import pytest

from keras_infnet.models import SharedBottom
from tests import tiny
from tests.reference.infnet import candidate, field_tokens, history_tokens
from tests.reference.textbook import Weights, dense, relu, sigmoid

CONTEXT = {"event_context": ("action", "ratio", "age", "position")}


@pytest.mark.parametrize("history", ["exposures", "positives", "none"])
def test_outputs_equal_the_formula(history):
    schema = tiny.schema(history)
    model = tiny.randomise(SharedBottom(schema, dim=8, hidden_dims=(10, 6), head_dim=5), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)
    fields = field_tokens(w, schema, x)
    parts = [fields.reshape(len(fields), -1)]
    if schema.histories:
        history = history_tokens(w, schema, x, CONTEXT)
        counts = history["groups"].sum(-1)
        sums = np.einsum("bfl,bld->bfd", history["groups"], history["history"])
        means = sums / np.maximum(counts, 1)[:, :, None]
        parts += [candidate(w, schema, fields), means.reshape(len(fields), -1), np.log1p(counts)]
    shared = np.concatenate(parts, -1)
    for i in range(2):
        shared = relu(dense(shared, w / f"shared_{i}"))
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        head = w / f"{task}_head"
        expected = sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        np.testing.assert_allclose(outputs[task], expected, atol=1e-5)


def test_widths_below_one_are_an_error():
    with pytest.raises(ValueError, match="`hidden_dims` must be 1 or more. Received: \\(8, 0\\)"):
        SharedBottom(tiny.schema(), hidden_dims=(8, 0))


def test_dropout_is_only_in_training():
    keras.utils.set_random_seed(0)
    model = tiny.randomise(SharedBottom(tiny.schema("none"), dim=4, dropout=0.5))
    x = tiny.inputs(model.schema)
    expected, again = tiny.predict(model, x)["click"], tiny.predict(model, x)["click"]
    np.testing.assert_array_equal(again, expected)
    assert np.abs(tiny.train_outputs(model, x)["click"] - expected).max() > 1e-3
