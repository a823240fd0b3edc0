import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_infnet.training.policy import PolicyScore, TaskPolicy, task_names
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows

LOGS = {
    "loss": 1.0,
    "click_auc": 0.9,
    "val_loss": 1.1,
    "val_click_auc": 0.6,
    "val_click_loss": 0.4,
    "val_like_auc": 0.8,
    "val_like_loss": 0.2,
}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (TaskPolicy(), 0.7),
        (TaskPolicy(weights={"click": 3, "like": 1}), 0.65),
        (TaskPolicy(weights={"like": 2}), 0.8),
        (TaskPolicy(metric="loss"), -0.3),
        (TaskPolicy(floors={"click": 0.6, "like": 0.5}), 0.7),
        (TaskPolicy(floors={"click": 0.7, "like": 0.9}), 0.7 - 1000 * (1 + 0.1 + 0.1)),
        (TaskPolicy(metric="loss", floors={"click": 0.3}), -0.3 - 1000 * (1 + 0.1)),
        (TaskPolicy(weights={"like": 1}, floors={"click": 0.7}), 0.8 - 1000 * (1 + 0.1)),
    ],
)
def test_the_score_is_the_weighted_mean_less_the_penalty_of_missed_floors(policy, expected):
    assert policy.score(LOGS) == pytest.approx(expected)


def test_the_single_task_of_a_model_has_no_name_in_the_logs():
    logs = {"val_auc": 0.8, "val_loss": 0.3}
    assert TaskPolicy().score(logs) == 0.8
    assert TaskPolicy(weights={"click": 2}).score(logs, ["click"]) == 0.8
    assert TaskPolicy(floors={"click": 0.7}).score(logs) == 0.8


def test_a_metric_whose_name_ends_alike_is_not_mistaken():
    logs = {"val_click_auc": 0.6, "val_click_pr_auc": 0.1}
    assert TaskPolicy().score(logs, tasks=["click", "like"]) == 0.6


def test_a_metric_that_is_nan_scores_minus_infinity():
    assert TaskPolicy().score({**LOGS, "val_like_auc": math.nan}) == -math.inf


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (TaskPolicy(weights={"clik": 1}), "no task `clik` with metric `auc`. Did you mean `click`"),
        (TaskPolicy(floors={"share": 1}), "no task `share` with metric `auc`. Known: click, like"),
        (TaskPolicy(metric="gauc"), "no `val_..._gauc` in the logs; they hold val_loss, val_click"),
    ],
)
def test_what_the_logs_lack_is_an_error_that_names_it(policy, message):
    with pytest.raises(ValueError, match=message):
        policy.score(LOGS)


def test_logs_without_validation_are_an_error():
    with pytest.raises(ValueError, match="they hold none with `val_`. Give fit validation data"):
        TaskPolicy().score({"loss": 1.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"click": -1}}, "0 or more.*'click': -1"),
        ({"weights": {"click": 0}}, "one of them above 0.*'click': 0"),
        ({"weights": {}}, "one of them above 0"),
        ({"floors": {"click": math.nan}}, "floors must be finite numbers.*'click': nan"),
    ],
)
def test_bad_numbers_are_an_error_that_shows_them(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskPolicy(**arguments)


@pytest.mark.parametrize("tasks", [("click", "like"), ("click",)])
def test_callbacks_after_it_see_the_score(tasks, tmp_path):
    rows = tiny_rows(tasks=tasks)
    model = tiny_ranker(tasks)
    model.compile(keras.optimizers.Adam(0.1))
    monitor = {"monitor": "val_score", "mode": "max"}
    stopping = keras.callbacks.EarlyStopping(**monitor, patience=9, restore_best_weights=True)
    file = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(file, **monitor, save_best_only=True)
    history = model.fit(
        batches_of(rows),
        validation_data=batches_of(rows),
        epochs=3,
        callbacks=[PolicyScore(), stopping, best],
        shuffle=False,
        verbose=0,
    ).history
    names = ["val_auc"] if len(tasks) == 1 else [f"val_{task}_auc" for task in tasks]
    expected = np.mean([history[name] for name in names], axis=0)
    np.testing.assert_allclose(history["val_score"], expected)
    assert stopping.best_epoch == int(np.argmax(expected))
    saved = keras.saving.load_model(file).get_weights()
    for a, b in zip(saved, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_task_that_the_model_lacks_is_an_error_before_the_first_step():
    model = tiny_ranker()
    model.compile("adam")
    callback = PolicyScore(TaskPolicy(weights={"lik": 1}))
    with pytest.raises(ValueError, match="no task `lik`.*Did you mean `like`"):
        model.fit(batches_of(tiny_rows()), callbacks=[callback], shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_task_names_come_from_the_schema_the_outputs_or_nowhere():
    schema = SimpleNamespace(task_names=("buy", "click"))
    assert task_names(SimpleNamespace(schema=schema)) == ("buy", "click")
    assert set(task_names(tiny_ranker())) == {"click", "like"}
    assert task_names(keras.Sequential([keras.layers.Dense(1)])) is None
