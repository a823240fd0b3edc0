import numpy as np
import pytest

from keras_infnet import BinaryTask
from keras_infnet.models import SharedBottom
from tests import tiny


def make(tasks=tiny.TASKS):
    # Without dense vectors all tokens start near 0.
    schema = tiny.schema("none", tasks=tasks, features=tiny.FEATURES[:-1])
    model = SharedBottom(schema, dim=4, hidden_dims=(8,))
    model.compile("sgd", **tiny.quick())
    return model, tiny.inputs(schema, batch=64)


def test_loss_and_metrics_come_from_the_schema():
    model, x = make()
    tiny.randomise(model)
    y, w = tiny.labels(model.schema, batch=64)
    logs = model.evaluate(x, y, sample_weight=w, batch_size=64, return_dict=True, verbose=0)
    predicted, expected = model.predict(x, verbose=0), 0
    for task in model.schema.tasks:
        p, label, weight = predicted[task.name], y[task.name], w[task.name]
        entropy = -(label * np.log(p) + (1 - label) * np.log(1 - p))
        expected += task.loss_weight * np.mean(entropy * weight)
        seen, positive = weight[:, 0] == 1, label[:, 0] == 1
        better = p[seen & positive] > p[seen & ~positive].T
        np.testing.assert_allclose(logs[f"{task.name}_auc"], better.mean(), atol=0.01)
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_labels_that_are_not_observed_have_no_effect():
    model, x = make()
    y, w = tiny.labels(model.schema, batch=64)
    flipped = {t: np.where(w[t] == 0, 1 - y[t], y[t]) for t in y}
    logs = [
        model.evaluate(x, labels, sample_weight=w, return_dict=True, verbose=0)
        for labels in (y, flipped)
    ]
    assert logs[0] == logs[1]


def test_a_batch_without_an_observed_label_has_loss_zero():
    model, x = make()
    y, w = tiny.labels(model.schema, batch=64)
    nothing = {t: np.zeros_like(weight) for t, weight in w.items()}
    before = model.get_weights()
    history = model.fit(x, y, sample_weight=nothing, batch_size=64, verbose=0).history
    assert history["loss"] == [0.0]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_heads_start_at_the_base_rates():
    tasks = (BinaryTask("click", base_rate=0.4), RegressionTask("watch", base_rate=17.0))
    model, x = make(tasks)
    outputs = model.predict(x, verbose=0)
    np.testing.assert_allclose(outputs["click"], 0.4, atol=0.02)
    np.testing.assert_allclose(outputs["watch"], 17, atol=0.2)


def test_regression_has_squared_error():
    model, x = make((RegressionTask("watch", base_rate=2.0),))
    y, w = {"watch": np.full((64, 1), 5.0)}, {"watch": np.ones((64, 1))}
    logs = model.evaluate(x, y, sample_weight=w, return_dict=True, verbose=0)
    expected = np.mean((5 - model.predict(x, verbose=0)["watch"]) ** 2)
    np.testing.assert_allclose([logs["loss"], logs["mse"]], expected, rtol=1e-4)


def test_loss_of_the_caller_wins():
    model, x = make((BinaryTask("click"),))
    model.compile("sgd", loss={"click": "mean_absolute_error"}, weighted_metrics=[], **tiny.quick())
    y = {"click": np.ones((64, 1), "float32")}
    expected = np.mean(1 - model.predict(x, verbose=0)["click"])
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("compiled", [True, "auto"])
def test_a_step_is_traced_once(monkeypatch, compiled):
    model, x = make()
    model.compile("adam", jit_compile=compiled)
    traced, step = [], SharedBottom.train_step

    def train_step(self, *arguments):
        traced.append(arguments)
        return step(self, *arguments)

    monkeypatch.setattr(SharedBottom, "train_step", train_step)
    y, w = tiny.labels(model.schema, batch=64)
    model.fit(x, y, sample_weight=w, batch_size=16, epochs=2, verbose=0)
    assert len(traced) == 1


def test_a_history_and_a_task_may_have_the_same_name():
    sequence = tiny.History("click", ("video_id",), max_length=3)
    schema = tiny.FeatureSchema(tiny.FEATURES, (BinaryTask("click", base_rate=0.5),), (sequence,))
    model = SharedBottom(schema, dim=4)
    assert tiny.predict(model, tiny.inputs(schema))["click"].shape == (6, 1)
