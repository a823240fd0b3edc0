import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, CountTask, FeatureSchema, History
from keras_infnet.data import FeatureEncoder
from tests.schema.whole_way import made, make_log

TASKS = [CountTask("orders", observed_when="is_click"), BinaryTask("click", "is_click")]


def schema(tasks=TASKS):
    video = CategoricalFeature("video_id", "item")
    return FeatureSchema([video], tasks, [History("seen", ["video_id"], max_length=4)])


def test_a_head_starts_at_the_mean_count_and_trains_by_poisson_loss():
    log = make_log()
    encoder = FeatureEncoder(schema([CountTask("orders")])).fit(log)
    (task,) = encoder.schema.tasks
    (start,) = encoder.schema.first_bias("orders")
    assert np.exp(start) == pytest.approx(log.orders.mean(), rel=1e-5)
    y, p = np.array([[0.0], [3.0], [2.5]]), np.array([[0.5], [2.0], [2.5]])
    expected = np.mean(p - y * np.log(p))
    assert np.mean(keras.losses.get(task.loss())(y, p)) == pytest.approx(expected, rel=1e-5)
    (metric,) = task.metrics()
    metric.update_state(y, p)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    measured = task.measures(y, p, np.ones(3), {})
    assert measured["poisson_loss"] == pytest.approx(expected, rel=1e-5)


def test_seconds_with_fractions_are_counts_too():
    log = make_log().assign(orders=lambda rows: rows.orders + 0.25)
    assert FeatureEncoder(schema([CountTask("orders")])).fit(log).schema.fitted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (-1, "label `orders`: 1 labels are negative .such as -1 in row 2.*RegressionTask"),
        (np.nan, "label `orders`: 1 of 300 observed labels are NaN"),
    ],
)
def test_negative_and_missing_counts_are_refused(wrong, message):
    orders = make_log().orders.astype("float64")
    orders[2] = wrong
    with pytest.raises(ValueError, match=message):
        FeatureEncoder(schema([CountTask("orders")])).fit(make_log().assign(orders=orders))


def test_a_calibration_of_a_count_is_refused():
    log = make_log()
    data, model = made(schema([CountTask("orders")]), log)
    with pytest.raises(ValueError, match="no task has probabilities.*`orders` .CountTask"):
        data.calibrate(model)


def test_a_schema_with_a_count_is_json():
    declared = schema()
    assert FeatureSchema.from_dict(declared.to_dict()) == declared
    assert pd.Series([t["type"] for t in declared.to_dict()["tasks"]]).tolist() == [
        "CountTask",
        "BinaryTask",
    ]
