import keras
import numpy as np
import pytest

from keras_infnet import BinaryTask, RegressionTask
from keras_infnet.models import SharedBottom
from tests import tiny


def make(tasks=tiny.TASKS, rates=None):
    # Without dense vectors all tokens start near 0.
    schema = tiny.schema("none", tasks=tasks, features=tiny.FEATURES[:-1], rates=rates)
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
    tasks = (BinaryTask("click"), RegressionTask("watch"))
    model, x = make(tasks, {"watch": 17.0})
    outputs = model.predict(x, verbose=0)
    np.testing.assert_allclose(outputs["click"], 0.4, atol=0.02)
    np.testing.assert_allclose(outputs["watch"], 17, atol=0.2)


def test_regression_has_squared_error():
    model, x = make((RegressionTask("watch"),), {"watch": 2.0})
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
    schema = tiny.sized(tiny.FeatureSchema(tiny.FEATURES, (BinaryTask("click"),), (sequence,)))
    model = SharedBottom(schema, dim=4)
    assert tiny.predict(model, tiny.inputs(schema))["click"].shape == (6, 1)


def test_what_is_said_of_a_task_leaves_the_others_as_they_are():
    model, x = make()
    y, w = tiny.labels(model.schema, batch=64)
    model.compile(
        "sgd",
        loss={"click": "mean_absolute_error"},
        loss_weights={"long_view": 0.5},
        metrics={"click": ["mse"]},
        weighted_metrics={"long_view": ["mae"]},
        **tiny.quick(),
    )
    logs = model.evaluate(x, y, sample_weight=w, batch_size=64, return_dict=True, verbose=0)
    names = {"click_mse", "click_auc", "like_auc", "long_view_mae"}
    assert names == {name for name in logs if "loss" not in name}
    predicted, losses = model.predict(x, verbose=0), {}
    for task, p in predicted.items():
        entropy = -(y[task] * np.log(p) + (1 - y[task]) * np.log(1 - p))
        losses[task] = np.mean(w[task] * (np.abs(y[task] - p) if task == "click" else entropy))
    # The weight of `like` is the schema's.
    expected = losses["click"] + 2.0 * losses["like"] + 0.5 * losses["long_view"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_one_loss_is_that_of_all_tasks_and_none_is_none():
    model, x = make()
    y, w = tiny.labels(model.schema, batch=64)
    predicted = model.predict(x, verbose=0)
    absolute = {t: np.mean(w[t] * np.abs(y[t] - p)) for t, p in predicted.items()}
    model.compile("sgd", loss=keras.losses.MeanAbsoluteError(), **tiny.quick())
    logs = model.evaluate(x, y, sample_weight=w, batch_size=64, return_dict=True, verbose=0)
    expected = absolute["click"] + 2 * absolute["like"] + absolute["long_view"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    model.compile("sgd", loss={"like": None, "long_view": None, "click": "mae"}, **tiny.quick())
    logs = model.evaluate(x, y, sample_weight=w, batch_size=64, return_dict=True, verbose=0)
    np.testing.assert_allclose(logs["loss"], absolute["click"], rtol=1e-5)


def test_names_of_tasks_are_checked():
    model, _ = make()
    for argument in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match="no task `clik`.*`click`"):
            model.compile("sgd", **{argument: {"clik": ["mse"]}})


def test_a_list_is_that_of_the_only_task():
    model, x = make((BinaryTask("click"),))
    model.compile("sgd", loss=["mae"], weighted_metrics=["mse", "mae"], **tiny.quick())
    y = {"click": np.ones((64, 1), "float32")}
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(logs["mae"]) and "mse" in logs
    with pytest.raises(ValueError, match="`loss` is a list of 2; expected one for task `click`"):
        model.compile("sgd", loss=["mae", "mse"])


def test_recompile_keeps_what_was_given():
    model, x = make((BinaryTask("click"),))
    model.compile("sgd", loss="mae", weighted_metrics=["mse"], **tiny.quick())
    model.recompile("adam")
    y = {"click": np.ones((64, 1), "float32")}
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    expected = np.mean(1 - model.predict(x, verbose=0)["click"])
    assert logs["loss"] == pytest.approx(expected) and set(logs) == {"loss", "mse"}
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_a_schedule_that_has_ended_is_said():
    model, x = make((BinaryTask("click"),))
    y = {"click": np.ones((64, 1), "float32")}
    decay = keras.optimizers.schedules.PolynomialDecay(0.1, 1, 0.0)
    model.compile(keras.optimizers.SGD(decay), **tiny.quick())
    model.fit(x, y, batch_size=64, verbose=0)
    with pytest.warns(UserWarning, match="learning rate of SGD is 0 after 1 steps.*recompile"):
        model.fit(x, y, batch_size=64, verbose=0)
