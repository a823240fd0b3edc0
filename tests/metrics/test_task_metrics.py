import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from keras_infnet.metrics.task_metrics import task_metrics
from tests.metrics.sklearn_loop import group_auc_loop

pytestmark = pytest.mark.one_backend


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(rng.integers(0, 2, (300, 2)), columns=["click", "like"])
    labels["watch"] = rng.normal(size=300)
    predicted = {task: rng.uniform(0.01, 0.99, (300, 1)) for task in labels}
    return labels, predicted, rng.integers(0, 9, 300)


def test_each_task_has_its_numbers(rows):
    labels, predicted, user = rows
    found = task_metrics(labels, predicted, user, regression=["watch"])
    assert list(found) == ["click", "like", "watch"]
    for task in ("click", "like"):
        scores = predicted[task].ravel()
        assert found[task] == {
            "auc": pytest.approx(metrics.roc_auc_score(labels[task], scores)),
            "gauc": pytest.approx(group_auc_loop(labels[task], scores, user)),
            "log_loss": pytest.approx(metrics.log_loss(labels[task], scores)),
        }
    assert found["watch"] == {
        "mse": pytest.approx(metrics.mean_squared_error(labels["watch"], predicted["watch"])),
        "mae": pytest.approx(metrics.mean_absolute_error(labels["watch"], predicted["watch"])),
    }


def test_named_groups_give_one_number_each(rows):
    labels, predicted, user = rows
    day = np.arange(300) // 150
    groups = {"user": user, "user_day": [user, day]}
    found = task_metrics(labels, {"click": predicted["click"]}, groups)["click"]
    assert list(found) == ["auc", "gauc_user", "gauc_user_day", "log_loss"]
    keys = list(zip(user, day, strict=True))
    expected = group_auc_loop(labels["click"], predicted["click"].ravel(), keys)
    assert found["gauc_user_day"] == pytest.approx(expected)


def test_unobserved_labels_are_left_out_task_by_task(rows):
    labels, predicted, user = rows
    observed = (labels["click"] == 1).to_numpy()
    masked = {**labels, "like": labels["like"].where(observed)}
    found = task_metrics(masked, predicted, user, {"like": observed}, regression=["watch"])
    like, scores = labels["like"][observed], predicted["like"][observed].ravel()
    assert found["like"]["auc"] == pytest.approx(metrics.roc_auc_score(like, scores))
    assert found["like"]["gauc"] == pytest.approx(group_auc_loop(like, scores, user[observed]))
    click = metrics.roc_auc_score(labels["click"], predicted["click"])
    assert found["click"]["auc"] == pytest.approx(click)


def test_one_weight_column_counts_for_all_tasks(rows):
    labels, predicted, _ = rows
    weights = np.random.default_rng(1).uniform(0, 2, 300)
    found = task_metrics(labels[["like"]], {"like": predicted["like"]}, sample_weight=weights)
    expected = metrics.roc_auc_score(labels["like"], predicted["like"], sample_weight=weights)
    assert found["like"]["auc"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": {"clik": [0.1]}}, "`clik` is not in the labels. Did you mean `click`"),
        ({"predictions": {"share": [0.1]}}, "`share` is not in the labels. Known: click, like"),
        ({"sample_weight": {"lke": [1]}}, "`lke` is not in the predictions. Did you mean `like`"),
        ({"regression": ["liked"]}, "`liked` is not in the predictions. Did you mean `like`"),
    ],
)
def test_an_unknown_task_is_an_error_with_a_suggestion(rows, arguments, message):
    labels, predicted, _ = rows
    with pytest.raises(ValueError, match=message):
        task_metrics(**{"labels": labels, "predictions": predicted, **arguments})


def test_a_bad_column_is_an_error_that_names_the_task(rows):
    labels, predicted, _ = rows
    labels.loc[3, "like"] = 2
    with pytest.raises(ValueError, match="Task `like`: The labels must be 0 or 1. Received: 2"):
        task_metrics(labels, predicted, regression=["watch"])


def test_calibration_is_measured_where_it_is_asked_for(rows):
    labels, predicted, _ = rows
    found = task_metrics(labels, {"click": predicted["click"]}, calibration=True)["click"]
    p, y = predicted["click"].ravel(), labels["click"].to_numpy()
    rate = np.full(len(y), y.mean())
    gaps = [abs((p[b] - y[b]).sum()) for b in (np.floor(p * 10) == i for i in range(10))]
    assert found["ece"] == pytest.approx(sum(gaps) / len(y))
    order = np.argsort(p).reshape(10, -1)
    assert found["ece_mass"] == pytest.approx(abs((p - y)[order].mean(1)).mean())
    expected = metrics.log_loss(y, p) / metrics.log_loss(y, rate)
    assert found["normalized_entropy"] == pytest.approx(expected)
