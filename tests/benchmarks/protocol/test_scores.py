import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.protocol.train import count_nan, mean_auc, split_metrics
from tests.benchmarks.protocol.cases import TASKS, make_predictions


def group_auc_loop(frame, label, score, keys):
    """Mean AUC of the groups with both classes, weighted by their rows."""
    total = weights = 0.0
    for _, rows in frame.groupby(keys):
        if rows[label].nunique() == 2:
            total += len(rows) * roc_auc_score(rows[label], rows[score])
            weights += len(rows)
    return total / weights


def test_each_metric_is_of_its_histories_and_groups():
    frame = make_predictions()
    found = split_metrics(frame, TASKS)
    for task in TASKS:
        label = f"{task}_label"
        assert found[task] == pytest.approx(
            {
                "auc": roc_auc_score(frame[label], frame[task]),
                "gauc": group_auc_loop(frame, label, task, "user_id"),
                "gauc_frozen": group_auc_loop(frame, label, f"{task}_frozen", "user_id"),
                "gauc_user_day": group_auc_loop(frame, label, task, ["user_id", "date"]),
                "log_loss": log_loss(frame[label], frame[task].astype("float64")),
            }
        )


def test_the_mean_is_of_the_tasks_auc():
    assert mean_auc({"click": {"auc": 0.6}, "like": {"auc": 0.8}}) == pytest.approx(0.7)


def test_rows_with_nan_are_counted_in_rolling_and_frozen_predictions():
    frame = make_predictions()
    assert count_nan(frame, TASKS) == 0
    frame.loc[3, "click"] = frame.loc[3, "like"] = frame.loc[7, "like_frozen"] = np.nan
    assert count_nan(frame, TASKS) == 2
