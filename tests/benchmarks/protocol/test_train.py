"""Real runs of the smallest model on a few simulated rows; metrics of made-up predictions."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import keras_infnet
from benchmarks.protocol.data import load_data, train_batches
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.runs import RunConfig, read_json
from benchmarks.protocol.train import (
    NaNFound,
    count_nan,
    fresh_model,
    mean_auc,
    measure,
    output_to,
    predict_test,
    split_metrics,
    train_run,
)
from tests.benchmarks.protocol.cases import TASKS, make_predictions

RUN = RunConfig("FM", {"dim": 4}, 2e-3, 1, "exposures", ("click", "like"), "0123456789ab")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log"
    keras_infnet.datasets.simulate(path, rows=900, users=40, items=60)
    return load_data(path, ("click", "like"), "exposures")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    train_run(RUN, data, root)
    return root


def test_a_run_s_folder_holds_all_that_it_was_made_from_and_gave(trained):
    folder = trained / RUN.name
    names = {path.name for path in folder.iterdir()} - {"test.json", "test.parquet"}
    assert names == {
        "config.json",
        "versions.json",
        "history.json",
        "log.txt",
        "model.weights.h5",
        "validation.parquet",
        "result.json",
    }
    history = read_json(folder / "history.json")
    result = read_json(folder / "result.json")
    assert len(history["val_click_auc"]) == 2 and "click_auc" in (folder / "log.txt").read_text()
    assert set(result["metrics"]) == {"click", "like"}
    assert result["steps"] == 2 and 0 < result["table_parameters"] < result["parameters"]


def test_test_rows_are_predicted_from_the_kept_weights(trained, data):
    predict_test(RUN, data, trained)
    rows = pd.read_parquet(trained / RUN.name / "test.parquet")
    test = data.frame("test")
    assert rows["video_id"].tolist() == test["video_id"].tolist()
    assert rows["click_label"].tolist() == test["is_click"].tolist()
    assert {str(rows[c].dtype) for c in ("click", "click_frozen", "like")} == {"float32"}
    assert set(read_json(trained / RUN.name / "test.json")) == {"click", "like"}


def test_the_same_seed_gives_the_same_numbers(trained, data, tmp_path):
    train_run(RUN, data, tmp_path)
    first, again = (
        pd.read_parquet(root / RUN.name / "validation.parquet")["click"]
        for root in (trained, tmp_path)
    )
    np.testing.assert_allclose(first, again, atol=1e-6)


def test_another_seed_draws_other_weights_and_rows(data):
    first, other = (fresh_model(RUN.with_seed(seed), data).get_weights() for seed in (0, 1))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    orders = [next(iter(train_batches(data, 64, seed).as_numpy_iterator()))[0] for seed in (0, 1)]
    assert (orders[0]["categorical"] != orders[1]["categorical"]).any()


def test_a_loss_that_is_no_number_fails_the_run_with_its_step(data, tmp_path):
    run = replace(RUN, learning_rate=1e38, epochs=4)
    with pytest.raises(NaNFound, match="Training has diverged: the loss .* step [1234]"):
        train_run(run, data, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"{run.name}.failed"
    error = read_json(folder / "error.json")
    assert error["reason"].startswith("Training has diverged") and 1 <= error["step"] <= 4
    assert (folder / "log.txt").exists()


def test_predictions_that_are_nan_fail_the_run(data, tmp_path):
    keras_infnet.training.set_seeds(0)
    model = keras_infnet.models.FM(data.schema, dim=4)
    bad = [np.full(weight.shape, np.nan) for weight in model.get_weights()]
    model.set_weights(bad)
    rows = len(data.frame("test"))
    with pytest.raises(NaNFound, match=f"{rows} predictions of the test rows are NaN after step 5"):
        measure(model, RUN, data, "test", tmp_path, step=5)
    assert not list(tmp_path.iterdir())
    keras.backend.clear_session()


def test_output_goes_to_the_log_and_back(tmp_path, capfd):
    with output_to(tmp_path / "log.txt"):
        print("inside", flush=True)
    print("outside", flush=True)
    assert (tmp_path / "log.txt").read_text() == "inside\n"
    assert capfd.readouterr().out == "outside\n"


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
    found = split_metrics(frame, TASKS, LOGS["kuairand"])
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
