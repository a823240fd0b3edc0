from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_infnet.models import FM
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.policy import TaskPolicy
from keras_infnet.training.recipe import fit_ranker
from tests import tiny
from tests.training.tiny_ranker import (
    batches_of,
    numbered_rows,
    row_counter,
    tiny_ranker,
    tiny_rows,
)


class ScriptedPolicy:
    """A policy whose scores are given in advance."""

    def __init__(self, *scores):
        self.scores = list(scores)

    def check_tasks(self, tasks):
        pass

    def score(self, logs, tasks=None):
        return self.scores.pop(0)


class Recorder(keras.callbacks.Callback):
    """Batches, logs and weights of each evaluation."""

    def __init__(self):
        super().__init__()
        self.batches, self.logs, self.weights = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.append(0)

    def on_train_batch_begin(self, batch, logs=None):
        self.batches[-1] += 1

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))
        self.weights.append(self.model.get_weights())


def validation():
    return batches_of(tiny_rows(seed=1))


@pytest.mark.parametrize(
    ("num_batches", "epochs", "evaluations", "parts"),
    [
        (6, 1, 2, [3, 3]),
        (5, 1, 2, [3, 2]),
        (5, 2, 2, [3, 3, 3, 1]),
        (4, 1, 3, [2, 2]),
        (3, 1, 9, [1, 1, 1]),
        (4, 2, 1, [4, 4]),
    ],
)
def test_every_row_is_seen_once_an_epoch(num_batches, epochs, evaluations, parts):
    num_rows = num_batches * 4 - 1
    model, train = row_counter(np.zeros((num_rows, 1))), numbered_rows(num_rows).batch(4)
    record = Recorder()
    history = fit_ranker(
        model,
        train.shuffle(num_batches),
        train.take(1),
        epochs=epochs,
        optimizer=keras.optimizers.SGD(1.0),
        evaluations_per_epoch=evaluations,
        policy=ScriptedPolicy(*range(9)),
        callbacks=[record],
        verbose=0,
    )
    np.testing.assert_array_equal(model.get_weights()[0], np.full((num_rows, 1), -epochs))
    assert record.batches == parts
    assert history.history["val_score"] == list(range(len(parts)))


def test_batches_come_in_the_order_of_the_dataset():
    losses = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"]))
    )
    # The loss of row k is k, and Keras logs the mean since the last evaluation.
    model, train = row_counter(np.arange(5)[:, None]), numbered_rows(5)
    fit_ranker(
        model,
        train.batch(1),
        train.batch(1),
        optimizer=keras.optimizers.SGD(0.0),
        policy=ScriptedPolicy(1, 2),
        callbacks=[record],
        verbose=0,
    )
    np.testing.assert_allclose(losses, [0, 0.5, 1, 3, 3.5])


def test_the_learning_rate_falls_from_its_first_value_to_zero():
    model, schedules = tiny_ranker(), []
    look = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: schedules.append(model.optimizer._learning_rate)
    )
    train = batches_of(tiny_rows(50))
    fit_ranker(model, train, epochs=2, learning_rate=0.1, callbacks=look, verbose=0)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert int(model.optimizer.iterations) == 10
    rates = [float(schedules[0](step)) for step in range(11)]
    np.testing.assert_allclose(rates, 0.1 * (1 - np.arange(11) / 10), atol=1e-7)


def test_the_weights_that_the_policy_scores_best_are_restored():
    model, record = tiny_ranker(), Recorder()
    policy = ScriptedPolicy(0.5, 0.9, 0.7, 0.8)
    train = batches_of(tiny_rows())
    fit_ranker(model, train, validation(), epochs=2, policy=policy, callbacks=[record], verbose=0)
    assert len(record.weights) == 4
    for found, best, last in zip(
        model.get_weights(), record.weights[1], record.weights[3], strict=True
    ):
        np.testing.assert_array_equal(found, best)
        assert np.abs(found - last).max() > 0


def test_it_stops_after_patience_evaluations_without_a_better_one():
    policy = ScriptedPolicy(0.5, 0.4, 0.45, 0.9)
    train = batches_of(tiny_rows())
    history = fit_ranker(tiny_ranker(), train, validation(), epochs=2, policy=policy, verbose=0)
    assert history.history["val_score"] == [0.5, 0.4, 0.45]


def test_the_default_policy_is_mean_auc_and_callbacks_see_its_score():
    record = Recorder()
    fit_ranker(tiny_ranker(), batches_of(tiny_rows()), validation(), callbacks=[record], verbose=0)
    for logs in record.logs:
        mean = (logs["val_click_auc"] + logs["val_like_auc"]) / 2
        assert logs["val_score"] == pytest.approx(mean)


def test_a_policy_may_choose_by_group_auc():
    gauc = GroupAUCCallback(validation(), np.arange(60) % 4)
    history = fit_ranker(
        tiny_ranker(),
        batches_of(tiny_rows()),
        validation(),
        policy=TaskPolicy("gauc", weights={"like": 1}),
        callbacks=[gauc],
        verbose=0,
    )
    assert history.history["val_score"] == history.history["val_like_gauc"]


class TinyRegression(keras.Model):
    """Two regressions and their schema."""

    schema = SimpleNamespace(
        task_names=("watch", "share"), tasks=[SimpleNamespace(monitor="mse")] * 2
    )

    def compile(self, optimizer):
        mse = {"watch": ["mse"], "share": ["mse"]}
        super().compile(optimizer, loss="mse", weighted_metrics=mse)


def test_regressions_alone_are_judged_by_squared_error():
    ranker = tiny_ranker(("watch", "share"))
    model = TinyRegression(ranker.input, ranker.output)
    rows = batches_of(tiny_rows(tasks=("watch", "share")))
    history = fit_ranker(model, rows, rows, verbose=0).history
    mean = np.add(history["val_watch_mse"], history["val_share_mse"]) / 2
    np.testing.assert_allclose(history["val_score"], -mean, rtol=1e-6)


def test_without_validation_it_trains_whole_epochs():
    record = Recorder()
    train = batches_of(tiny_rows())
    history = fit_ranker(tiny_ranker(), train, epochs=2, callbacks=[record], verbose=0)
    assert record.batches == [6, 6]
    assert "val_score" not in history.history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: {"data": data.repeat()}, "training data never end. Leave `repeat` out"),
        (lambda data: {"data": data.filter(lambda *_: True)}, "unknown.*assert_cardinality"),
        (lambda data: {"data": data.take(0)}, "no batch. Check the split's dates"),
        (lambda data: {"validation": data.repeat()}, "validation data never end"),
        (lambda data: {"validation": None, "policy": TaskPolicy()}, "policy needs validation"),
        (lambda data: {"epochs": 0}, "`epochs` must be a whole number, 1 or more. Received: 0"),
        (
            lambda data: {"evaluations_per_epoch": -1},
            "`evaluations_per_epoch` must be a whole number",
        ),
        (lambda data: {"patience": 1.5}, "`patience` must be a whole number"),
        (lambda data: {"learning_rate": -1.0}, "`learning_rate` must be a number above 0"),
        (lambda data: {"learning_rate": "0.1"}, "`learning_rate` must be a number above 0"),
        (lambda data: {"data": [1, 2]}, "`data` is a list; expected a batched `tf.data.Dataset`"),
        (lambda data: {"validation": {}}, "`validation` is a dict; expected a batched"),
        (lambda data: {"policy": TaskPolicy(floors={"clck": 0.5})}, "`clck`.*mean `click`"),
    ],
)
def test_what_can_not_be_trained_is_an_error_that_says_what_to_do(change, message):
    data = batches_of(tiny_rows())
    arguments = {"data": data, "validation": data, **change(data)}
    with pytest.raises(ValueError, match=message):
        fit_ranker(tiny_ranker(), **arguments, verbose=0)


def fm(**compiled):
    model = FM(tiny.schema("none"), dim=4)
    if compiled:
        model.compile("sgd", **tiny.quick(), **compiled)
    return model


def packed_batches():
    schema = tiny.schema("none")
    rows = (tiny.inputs(schema, batch=64), *tiny.labels(schema, batch=64))
    return tf.data.Dataset.from_tensor_slices(rows).batch(16)


def first_losses(model, **arguments):
    losses = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"]))
    )
    fit_ranker(model, packed_batches(), learning_rate=1e-9, callbacks=look, verbose=0, **arguments)
    return losses[-1]


def test_a_compiled_model_keeps_its_loss_and_weights():
    compiled = {"loss": "mae", "loss_weights": {"click": 3.0}, "metrics": {"click": ["mse"]}}
    model = fm(**compiled)
    found = first_losses(model)
    expected = model.evaluate(packed_batches(), verbose=0, return_dict=True)
    assert found == pytest.approx(expected["loss"], rel=1e-4) and "click_mse" in expected
    outputs = model.predict(packed_batches(), verbose=0)
    (_, y, w) = next(iter(packed_batches().unbatch().batch(64).as_numpy_iterator()))
    by_task = {t: np.mean(w[t] * np.abs(y[t] - outputs[t])) for t in y}
    expected = 3 * by_task["click"] + 2 * by_task["like"] + by_task["long_view"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_loss_that_is_given_comes_before_that_of_compile():
    model = fm(loss="mae")
    found = first_losses(model, loss="mse", jit_compile=False)
    assert found == pytest.approx(
        model.evaluate(packed_batches(), verbose=0, return_dict=True)["loss"]
    )
    assert not model.jit_compile
    y = next(packed_batches().unbatch().batch(64).as_numpy_iterator())
    outputs = model.predict(packed_batches(), verbose=0)
    squared = {t: np.mean(y[2][t] * (y[1][t] - p) ** 2) for t, p in outputs.items()}
    expected = squared["click"] + 2 * squared["like"] + squared["long_view"]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda part, rate: rate / 2),
        keras.callbacks.ReduceLROnPlateau("val_score", factor=0.5, patience=1, mode="max"),
    ],
)
def test_a_callback_may_set_the_learning_rate(callback):
    policy = ScriptedPolicy(4, 3, 2, 1)
    rates = fit_ranker(
        tiny_ranker(),
        batches_of(tiny_rows()),
        validation(),
        epochs=2,
        patience=9,
        learning_rate=0.8,
        policy=policy,
        callbacks=callback,
        verbose=0,
    ).history["learning_rate"]
    halved = isinstance(callback, keras.callbacks.LearningRateScheduler)
    # Each entry is what the part was trained with.
    np.testing.assert_allclose(rates, [0.4, 0.2, 0.1, 0.05] if halved else [0.8, 0.8, 0.4, 0.2])


def test_afterwards_the_rate_is_plain_and_the_moments_stay(tmp_path):
    model = fm()
    fit_ranker(model, packed_batches(), learning_rate=0.01, verbose=0)
    assert isinstance(model.optimizer.learning_rate, keras.Variable)
    assert [v.name for v in model.optimizer.variables[:2]] == ["iteration", "learning_rate"]
    model.optimizer.learning_rate = 0.003
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for saved, found in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.array(saved), np.array(found))
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.003)
    assert max(np.abs(v).max() for v in loaded.optimizer.variables[2:]) > 0
