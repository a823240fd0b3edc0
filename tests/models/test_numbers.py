"""Numbers as numbers, in every model, against the formulas in numpy."""

import numpy as np
import pytest

from keras_infnet import CategoricalFeature, FeatureSchema, History, NumericFeature
from keras_infnet.models import MODELS, SharedBottom
from keras_infnet.models import embedded_inputs as embedded_inputs_module
from tests import tiny
from tests.reference.textbook import Weights, dense, relu, sigmoid
from tests.reference.tokens import flat_tokens

FORMS = ("bucket", "value", "ple")
FEATURES = (
    NumericFeature("views", "item", encoding="ple", buckets=6, token="counts"),
    CategoricalFeature("video_id", "item"),
    NumericFeature("duration", "item", encoding=FORMS, buckets=5),
    NumericFeature("age", "user", encoding="bucket"),
    NumericFeature("clicks", "item", token="counts"),
    NumericFeature("watched", "context", table="duration", encoding=FORMS, buckets=5),
    NumericFeature("rate", "item", encoding=("value", "normal")),
)
SIZES = {"views": 2, "video_id": 30, "duration": 7, "age": 4, "clicks": 9, "rate": 2}
SEEN = History("seen", ("video_id", "duration", "rate"), max_length=4, quantities=())
OLDER = History("older", ("video_id", "duration", "rate"), max_length=2)


def schema_of(*histories):
    schema = FeatureSchema(FEATURES, tiny.TASKS, histories)
    return schema.with_sizes(SIZES, "int", tiny.BASE_RATES)


def test_those_that_share_a_token_are_packed_last_and_are_one_field():
    schema = schema_of()
    assert schema.field_names == ("video_id", "duration", "age", "watched", "rate", "counts")
    assert list(schema.packed_columns("categorical"))[-2:] == ["views", "clicks"]
    columns = schema.packed_columns("numbers")
    assert list(columns) == ["duration", "watched", "rate", "views", "clicks"]
    assert columns["rate"] == slice(4, 6) and schema.packed_inputs()["numbers"] == ((8,), "float32")


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("histories", [(), (SEEN, OLDER)])
def test_outputs_equal_the_formula(histories, rows, monkeypatch):
    # With tables that are looked up event by event, and projected before.
    monkeypatch.setattr(embedded_inputs_module, "_SMALL_TABLE", 1 if rows else 10**6)
    schema = schema_of(*histories)
    model = tiny.randomise(SharedBottom(schema, dim=8, hidden_dims=(10,), head_dim=5), scale=0.3)
    x, w = tiny.inputs(schema), Weights.of(model)
    shared = relu(dense(flat_tokens(w, schema, x), w / "shared_0"))
    outputs, trained = tiny.predict(model, x), tiny.train_outputs(model, x)
    for task in schema.task_names:
        head = w / f"{task}_head"
        expected = sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        np.testing.assert_allclose(outputs[task], expected, atol=1e-5)
        np.testing.assert_allclose(trained[task], expected, atol=1e-5)


# These have the candidate's fields, and read no candidate in the space of events.
WITHOUT_CANDIDATE = ("OneTrans", "HyFormer")


@pytest.mark.parametrize("name", tiny.marked(MODELS))
def test_every_model_reads_a_number_and_what_the_candidate_has_besides_its_history(name):
    schema = schema_of(History("seen", ("video_id",), max_length=4, quantities=()))
    model = tiny.randomise(MODELS[name](schema, dim=8), scale=0.2)
    x = tiny.inputs(schema)
    before = tiny.predict(model, x)["click"]
    reads = any("candidate_of_item" in weight.path for weight in model.weights)
    assert reads == (name not in WITHOUT_CANDIDATE)
    changed = {**x, "numbers": x["numbers"] + np.float32([0, 0, 0, 0, 1, 0, 0, 0])}
    assert np.abs(tiny.predict(model, changed)["click"] - before).max() > 1e-5


def test_at_first_the_candidate_is_what_an_event_has():
    schema = schema_of(SEEN)
    kernel = SharedBottom(schema, dim=8).get_layer("candidate_of_item").kernel
    # Counts alone are the item's and no field of the history.
    assert kernel.shape == (8, 8) and not np.asarray(kernel).any()
