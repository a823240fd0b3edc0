"""All kinds of columns, event quantities and tasks in one log, from its rows to a client."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_poisson_deviance

from keras_infnet import (
    BinaryTask,
    CountTask,
    DateTimeFeature,
    MulticlassTask,
    RateFeature,
    SecondsSinceFeature,
    SincePrevious,
)
from keras_infnet.models import SharedBottom
from tests.schema import test_event_number as numbers
from tests.schema.whole_way import check_served, trained

pytestmark = pytest.mark.one_backend
CLASSES = ["none", "like", "share"]
TASKS = [
    BinaryTask("click", "is_click"),
    MulticlassTask("reaction", classes=CLASSES),
    CountTask("orders", observed_when="is_click"),
]
SEEN = dataclasses.replace(numbers.SEEN, quantities=(*numbers.SEEN.quantities, SincePrevious()))
PAST = [
    RateFeature("ctr", "user", action="is_click", window="2d"),
    RateFeature("pair_ctr", "item", keys=("user_id", "video_id"), action="is_click"),
    SecondsSinceFeature("since", "user"),
]


@pytest.fixture(scope="module")
def made():
    """The data, and a model of two members after two epochs."""
    time = DateTimeFeature("time_ms", "context", zone="America/New_York")
    schema = numbers.schema(SEEN, more=[*numbers.MORE, time, *PAST])
    schema = dataclasses.replace(schema, tasks=TASKS)
    return trained(
        schema, numbers.log_with_numbers(300), SharedBottom, hidden_dims=(16,), members=2
    )


@pytest.fixture(scope="module")
def predicted(made):
    data, model = made
    return data.predict(model, "validation")


@pytest.fixture(scope="module")
def measured(made):
    data, model = made
    return data.evaluate(model, "validation", freeze_at="part")


def test_all_columns_are_inputs_and_weights(made):
    data, model = made
    assert data.schema.table_rows()["time_ms"] == 63
    assert data.schema.raw_inputs()["pair_ctr"] == ((), "float32")
    paths = " ".join(weight.path for weight in model.weights)
    for part in ("history_numbers", "read_s_table", "since_previous_table"):
        assert part in paths


def test_classes_are_measured_as_by_scikit_learn(made, predicted):
    data, model = made
    columns = ["reaction/none", "reaction/like", "reaction/share"]
    assert list(predicted.columns) == ["click", *columns, "orders"]
    np.testing.assert_allclose(predicted[columns].sum(axis=1), 1, rtol=1e-5)
    rows, found = data.frame("validation"), predicted[columns].to_numpy("float64")
    measured = data.evaluate(model, "validation").loc["reaction"]
    codes = rows.reaction.map(CLASSES.index)
    expected = log_loss(codes, found / found.sum(1, keepdims=True), labels=[0, 1, 2])
    assert measured["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert measured["accuracy"] == accuracy_score(codes, found.argmax(axis=1))
    # Two epochs find that a reaction follows from the video.
    assert measured["accuracy"] > (rows.reaction.value_counts(normalize=True).max() + 0.1)


def test_counts_are_measured_as_by_scikit_learn(made, predicted):
    data, model = made
    rows = data.frame("validation")
    assert (predicted["orders"] > 0).all()
    clicked = (rows.is_click == 1).to_numpy()
    expected = mean_poisson_deviance(rows.orders[clicked], predicted.orders[clicked])
    measured = data.evaluate(model, "validation").loc["orders"]
    assert measured["poisson_deviance"] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(measured["auc"])
    # Two epochs find that later videos are ordered more.
    assert np.corrcoef(predicted.orders, rows.video_id)[0, 1] > 0.5


def test_a_frozen_past_is_measured_too(measured):
    assert measured.loc["click", "auc"] > 0.5


def test_binary_tasks_alone_are_calibrated(made):
    data, model = made
    assert list(data.calibrate(model).to_dict()) == ["click"]


def test_a_client_is_answered_as_keras_answers(made, tmp_path):
    check_served(*made, tmp_path)


def test_tables_of_8_bits_answer_alike(made):
    data, model = made
    rows = data.attach(data.frame("validation").head(8))
    expected = data.predict(model, rows)
    with pytest.warns(UserWarning, match="quantize"):
        model.quantize("int8")
    found = data.predict(model, rows)
    probabilities = [name for name in expected if name != "orders"]
    np.testing.assert_allclose(found[probabilities], expected[probabilities], atol=0.05)
