from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, RegressionTask
from keras_infnet.data import Batches, FeatureEncoder
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.policy import PolicyScore, TaskPolicy
from tests.metrics.sklearn_loop import group_auc_loop
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows

USERS = np.random.default_rng(0).integers(0, 5, 60)


class KeepPredictions(keras.callbacks.Callback):
    def __init__(self, x):
        super().__init__()
        self.x, self.kept = x, []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.predict(self.x, verbose=0))


def fit(callbacks, tasks=("click", "like"), epochs=2):
    model = tiny_ranker(tasks)
    model.compile(keras.optimizers.Adam(0.05))
    rows = batches_of(tiny_rows(tasks=tasks))
    return model.fit(rows, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0).history


def test_each_epoch_has_the_exact_value_of_observed_rows_and_the_policy_sees_it():
    x, y, weights = tiny_rows()
    weights["like"] = y["click"]
    keep = KeepPredictions(x)
    callback = GroupAUCCallback(batches_of((x, y, weights), 25), USERS)
    history = fit([callback, keep, PolicyScore(TaskPolicy("gauc"))])
    for task in ("click", "like"):
        expected = [
            group_auc_loop(
                y[task].ravel(), predicted[task].ravel(), USERS, weights=weights[task].ravel()
            )
            for predicted in keep.kept
        ]
        np.testing.assert_allclose(history[f"val_{task}_gauc"], expected, rtol=1e-6)
    both = np.add(history["val_click_gauc"], history["val_like_gauc"]) / 2
    np.testing.assert_allclose(history["val_score"], both)


def test_training_is_not_changed_by_it():
    plain, measured = [], []
    for kept, callbacks in ((plain, []), (measured, [GroupAUCCallback(data(), USERS)])):
        keras.utils.set_random_seed(0)
        kept.append(fit(callbacks)["loss"])
    np.testing.assert_allclose(plain, measured, rtol=1e-6)


def test_tasks_name_weighting_and_rows_without_weights():
    x, y, _ = tiny_rows(tasks=("click",))
    keep = KeepPredictions(x)
    callback = GroupAUCCallback(
        batches_of((x, y)), [USERS, USERS % 2], ["click"], "uniform", name="user_auc"
    )
    history = fit([callback, keep], tasks=("click",), epochs=1)
    scores = keep.kept[0]["click"].ravel()
    expected = group_auc_loop(y["click"].ravel(), scores, USERS, "uniform")
    np.testing.assert_allclose(history["val_click_user_auc"], [expected], rtol=1e-6)


def data():
    return batches_of(tiny_rows())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupAUCCallback(data(), USERS[:-1]), "task `click`: .*59 keys and 60 labels"),
        (lambda: GroupAUCCallback(data(), USERS, ["lik"]), "no task `lik`.*Did you mean `like`"),
        (lambda: GroupAUCCallback(data().take(0), USERS), "the dataset has no batch"),
        (lambda: GroupAUCCallback(data(), USERS, weighting="users"), "one of .*'users'"),
        (lambda: GroupAUCCallback(data(), [2.0**53, 1.0]), "floats of 2"),
    ],
)
def test_what_does_not_fit_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        callback = make()
        callback.set_model(tiny_ranker())
        callback.on_train_begin()


def shuffled(again=True):
    x, y, weights = tiny_rows()
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weights))
    return dataset.shuffle(60, seed=1, reshuffle_each_iteration=again).batch(10)


def test_rows_in_another_order_than_when_training_began_are_an_error():
    with pytest.raises(ValueError, match="task `click`: labels came in another order"):
        fit([GroupAUCCallback(shuffled(), USERS)])


def test_shuffled_batches_are_refused_at_once():
    schema = FeatureSchema([CategoricalFeature("video_id", "item")], [BinaryTask("click")])
    log = pd.DataFrame({"video_id": ["a", "b"] * 30, "click": [0, 1] * 30})
    encoder = FeatureEncoder(schema).fit(log)
    batches = Batches.from_rows(encoder, log, shuffle=True)
    for some in (batches, batches.take(1), batches.prefetch(1)):
        with pytest.raises(ValueError, match="is shuffled, so `groups` are not those of its rows"):
            GroupAUCCallback(some, USERS)
    assert not Batches.from_rows(encoder, log).map(lambda *batch: batch).shuffled


def of_schema(*tasks):
    """A callback whose model has a schema with these tasks, before training."""
    callback = GroupAUCCallback(batches_of(tiny_rows()), USERS)
    callback.set_model(SimpleNamespace(schema=SimpleNamespace(tasks=tasks)))
    return callback


def test_tasks_that_are_not_binary_are_left_out_or_refused_before_the_first_step():
    callback = of_schema(BinaryTask("click"), RegressionTask("like"))
    callback.on_train_begin()
    assert callback._measured == ["click"]
    callback.tasks = ("like",)
    with pytest.raises(ValueError, match="task `like` is a RegressionTask; expected tasks whose"):
        callback.on_train_begin()
    with pytest.raises(ValueError, match=r"no task has labels of 0 and 1: `click` \(Regression"):
        of_schema(RegressionTask("click"), RegressionTask("like")).on_train_begin()


def test_labels_other_than_0_and_1_fail_before_the_first_step():
    x, y, weights = tiny_rows()
    y["like"] = y["like"] * 3
    callback = GroupAUCCallback(batches_of((x, y, weights)), USERS)
    callback.set_model(tiny_ranker())
    with pytest.raises(ValueError, match="task `like`: The labels must be 0 or 1.*`tasks=` says"):
        callback.on_train_begin()
