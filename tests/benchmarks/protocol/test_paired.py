import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.paired import MEAN, resampled_metrics, summary, update_paired, user_counts
from benchmarks.protocol.tables import Tables
from tests.benchmarks.protocol.cases import TASKS, make_plan, make_predictions

RESAMPLES = 12


def repeated_users(frame, counts):
    """The resample written out: each drawn user's rows, every time as a user of its own."""
    parts = []
    for user, count in zip(np.unique(frame["user_id"]), counts, strict=True):
        for copy in range(int(count)):
            rows = frame[frame["user_id"] == user]
            parts.append(rows.assign(user_id=f"{user} {copy}"))
    return pd.concat(parts)


def slow_metrics(frame, task):
    labels, scores, users = frame[f"{task}_label"], frame[task], frame["user_id"]
    return {
        "auc": keras_infnet.metrics.auc(labels, scores),
        "gauc": keras_infnet.metrics.group_auc(labels, scores, users),
        "gauc_frozen": keras_infnet.metrics.group_auc(labels, frame[f"{task}_frozen"], users),
        "gauc_user_day": keras_infnet.metrics.group_auc(labels, scores, [users, frame["date"]]),
        "log_loss": keras_infnet.metrics.log_loss(labels, scores),
    }


def test_resamples_equal_those_written_out_row_by_row():
    frame = make_predictions()
    users = frame["user_id"].nunique()
    counts = user_counts(users, RESAMPLES, seed=0)
    assert (counts.sum(axis=1) == users).all() and (counts[0] == 1).all()
    found = resampled_metrics(frame, TASKS, LOGS["kuairand"], RESAMPLES)
    for i, drawn in enumerate(counts):
        expected = {task: slow_metrics(repeated_users(frame, drawn), task) for task in TASKS}
        for metric in expected["click"]:
            for task in TASKS:
                np.testing.assert_allclose(
                    found[task, metric][i], expected[task][metric], rtol=1e-6
                )
            mean = np.mean([expected[task][metric] for task in TASKS])
            np.testing.assert_allclose(found[MEAN, metric][i], mean, rtol=1e-6)


def test_two_models_are_measured_on_the_same_resamples():
    frame = make_predictions(seed=1)
    first, second = (resampled_metrics(frame, TASKS, LOGS["kuairand"], RESAMPLES) for _ in range(2))
    differences = first["click", "auc"] - second["click", "auc"]
    assert summary(differences) == {"difference": 0.0, "standard_error": 0.0}


def test_the_summary_is_the_first_value_and_the_deviation_of_the_others():
    found = summary(np.array([0.5, 1.0, 2.0, np.nan, 4.0]))
    assert found["difference"] == 0.5
    np.testing.assert_allclose(found["standard_error"], np.std([1.0, 2.0, 4.0], ddof=1))


def test_infnet_is_compared_with_every_model_whose_predictions_are_there(tmp_path):
    plan = make_plan(trials=1)
    records, tables, runs = {}, Tables([tmp_path]), tmp_path / "runs"
    for model in plan.models:
        for run in plan.seed_runs(plan.trial_runs(model, "exposures")[0], 1):
            records[run.name] = {"status": "finished", "mean_auc": 0.6, "tested": True}
            (runs / run.name).mkdir(parents=True)
            seed = run.seed + 10 * (model == "INFNet")
            make_predictions(seed).to_parquet(runs / run.name / "test.parquet")
    update_paired(tables, plan, records, runs)
    table = tables["paired.csv"].set_index(["task", "metric"])
    assert set(table["other"]) == {"SharedBottom"} and set(table["split"]) == {"test"}
    ours, theirs = (
        np.mean([slow_metrics(make_predictions(seed), "click")["auc"] for seed in seeds])
        for seeds in ((10, 11), (0, 1))
    )
    np.testing.assert_allclose(table.loc[("click", "auc"), "difference"], ours - theirs, atol=1e-6)
    assert (table["standard_error"] > 0).all() and set(table["seeds"]) == {2}
    # Without predictions, and with the same runs, the rows stay as they are.
    written = (tmp_path / "paired.csv").stat().st_mtime_ns
    update_paired(tables, plan, records, runs)
    update_paired(tables, plan, records, tmp_path / "nowhere")
    assert (tmp_path / "paired.csv").stat().st_mtime_ns == written
