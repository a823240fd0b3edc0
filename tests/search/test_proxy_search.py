import hashlib
import importlib.util
import json

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import keras_infnet
from keras_infnet.search import LatencyTradeoff, SearchSpace
from keras_infnet.search import trials as trials_module
from keras_infnet.search.trials import TrialTraining
from keras_infnet.training import TaskPolicy
from tests.search.small_search import (
    SPACE,
    made_up_training,
    small_data,
    small_schema,
    small_search,
)

ONE_POINT = SearchSpace((2,), (1,), (1,), (4,), (1e-2,), dropout=(0.0,))
ONE_VARIED = SearchSpace((1, 2, 4, 8, 16), (1,), (1,), (4,), (1e-2,), dropout=(0.0,))


@pytest.fixture
def quick(monkeypatch):
    """Trials that take no time."""
    monkeypatch.setattr(TrialTraining, "run", made_up_training)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One trial, truly trained with two seeds."""
    rows = np.concatenate([x["categorical"] for x, _, _ in small_data(seed=1).as_numpy_iterator()])
    options = {"space": ONE_POINT, "seeds": (3, 4), "groups": rows[:, 0] % 3}
    search = small_search(tmp_path_factory.mktemp("runs") / "search", **options)
    search.run(verbose=0)
    return search


def test_a_trial_has_the_numbers_of_its_best_model(trained):
    (row,) = trained.trials().to_dict("records")
    (path,) = trained.folder.glob("trials/*/record.json")
    runs = json.loads(path.read_text("utf-8"))["runs"]
    assert [run["seed"] for run in runs] == [3, 4]
    assert row["quality"] == pytest.approx(np.mean([run["quality"] for run in runs]))
    assert row["quality_std"] == pytest.approx(np.std([r["quality"] for r in runs], ddof=1))
    assert row["milliseconds"] > 0 and row["attempts"] == 1 and row["on_front"]
    best = max(runs, key=lambda run: run["quality"])
    model = trained.best_model()
    # In the batches of the evaluation: in others, equal rows may differ by a rounding.
    batches = [(y, model.predict_on_batch(x)) for x, y, _ in small_data(seed=1).as_numpy_iterator()]
    for task in ("click", "like"):
        labels, scores = (
            np.concatenate([np.array(of[task]) for of in part])
            for part in zip(*batches, strict=True)
        )
        assert best["metrics"][f"{task}_auc"] == pytest.approx(
            roc_auc_score(labels, scores), abs=1e-6
        )
    assert {"click_gauc", "like_gauc", "click_loss"} <= set(row)
    assert model.compiled and row["parameters"] == model.count_params()


def test_the_best_configuration_rebuilds_the_model(trained):
    config = keras_infnet.search.load_config(trained.folder)
    model = keras_infnet.INFNet(small_schema(), **config["arguments"])
    rebuilt, best = (m.get_config() for m in (model, trained.best_model()))
    assert {**rebuilt, "name": best["name"]} == best
    assert config["learning_rate"] == 1e-2 and config["schema"] == small_schema().fingerprint


def test_a_model_without_optimizer_slots_is_saved(trained):
    (path,) = trained.folder.glob("trials/*/model.weights.h5")
    model = trained.best_model()
    assert path.stat().st_size < 3 * 4 * model.count_params() + 100_000
    assert keras.tree.flatten(model.get_weights())


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("oracle", "max_trials", "shares"),
    # Three random points, then the Gaussian process; nine short trials, then a longer one.
    [("random", 3, {1.0}), ("bayesian", 5, {1.0}), ("hyperband", 10, {1 / 9, 1 / 3})],
)
def test_each_oracle_of_keras_tuner_searches(oracle, max_trials, shares, tmp_path, quick):
    space = SPACE if oracle == "hyperband" else ONE_VARIED
    search = small_search(tmp_path / "search", oracle=oracle, space=space)
    trials = search.run(max_trials, verbose=0)
    assert len(trials) == max_trials and (trials["status"] == "finished").all()
    assert set(trials["training_share"]) == shares
    best = keras_infnet.search.load_config(tmp_path / "search")
    longest = trials["training_share"] == max(shares)
    assert best["score"] == trials.loc[longest, "score"].max()


def test_only_the_best_and_the_front_keep_their_weights(tmp_path, quick):
    search = small_search(tmp_path / "search")
    trials = search.run(max_trials=5, verbose=0)
    kept = {path.parent.name for path in search.folder.glob("trials/*/model.weights.h5")}
    best = trials.loc[trials["score"].idxmax(), "trial"]
    front = search.pareto_trials()
    assert front["milliseconds"].is_monotonic_increasing
    assert kept == {f"trial_{trial}" for trial in {best, *front["trial"]}}
    beaten = next(t for t in trials["trial"] if t not in {best, *front["trial"]})
    with pytest.raises(ValueError, match=f"weights of trial {beaten} were not kept"):
        search.best_model(beaten)


def test_a_search_goes_on_where_it_was_and_its_table_is_in_the_folder(tmp_path, quick, capsys):
    first = small_search(tmp_path / "search").run(max_trials=3)
    second = small_search(tmp_path / "search").run(max_trials=5)
    pd.testing.assert_frame_equal(
        first.drop(columns="on_front"), second.drop(columns="on_front")[:3]
    )
    assert len(pd.read_csv(tmp_path / "search" / "trials.csv")) == 5
    assert "5/5 trials, trial 4: score" in capsys.readouterr().out


def test_a_kill_between_two_files_of_keras_tuner_neither_loses_nor_repeats_a_trial(tmp_path, quick):
    first = small_search(tmp_path / "search").run(max_trials=2, verbose=0)
    trials = tmp_path / "search" / "trials"
    state = json.loads((trials / "oracle.json").read_text("utf-8"))
    assert not state["oracle"]["ongoing_trials"]
    state["oracle"]["ongoing_trials"] = {"tuner0": first["trial"][1]}
    (trials / "oracle.json").write_text(json.dumps(state), "utf-8")
    (trials / f"trial_{first['trial'][1]}" / "trial.json").write_text("{", "utf-8")
    second = small_search(tmp_path / "search").run(max_trials=4, verbose=0)
    assert list(second["status"]) == ["finished"] * 4 and list(second["attempts"]) == [1] * 4


def test_a_budget_without_room_ends_the_search(tmp_path, quick, capsys):
    trials = small_search(tmp_path / "search").run(max_trials=5, budget=0.001)
    assert trials.empty
    assert "no room for another trial" in capsys.readouterr().out


def test_a_failed_trial_is_recorded_with_its_error(tmp_path, monkeypatch):
    def training(job, values, share, folder):
        if folder.name.endswith("1"):
            raise MemoryError("a table too many")
        return made_up_training(job, values, share, folder)

    monkeypatch.setattr(TrialTraining, "run", training)
    trials = small_search(tmp_path / "search").run(max_trials=3, verbose=0)
    assert list(trials["status"]) == ["finished", "failed", "finished"]
    assert trials["error"][1] == "MemoryError: a table too many"
    assert not trials["on_front"][1]


def test_a_metric_that_is_not_a_number_fails_the_trial_by_name(tmp_path, monkeypatch):
    history = keras.callbacks.History()
    nan = float("nan")
    history.history = {"val_like_gauc": [nan, nan], "val_score": [-np.inf, -np.inf], "loss": [1, 1]}
    monkeypatch.setattr(trials_module, "fit_ranker", lambda *args, **kwargs: history)
    trials = small_search(tmp_path / "search").run(max_trials=1, verbose=0)
    assert "no validation gave a number for val_like_gauc, val_score" in trials["error"][0]


def test_a_search_whose_trials_all_fail_ends_with_the_error(tmp_path, monkeypatch):
    def training(*arguments):
        raise MemoryError("too large")

    monkeypatch.setattr(TrialTraining, "run", training)
    search = small_search(tmp_path / "search")
    with pytest.raises(
        RuntimeError, match="every trial failed; the last with MemoryError: too lar"
    ):
        search.run(max_trials=8, verbose=0)
    assert len(search.trials()) == 3
    with pytest.raises(ValueError, match="no finished trial"):
        search.best_model()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"space": ONE_POINT}, r"its space.num_field_proxies is \[1, 2, 4\], yours \[2\]"),
        ({"schema": small_schema(("click",))}, "its schema is"),
        ({"validation": small_data(seed=7)}, "its data.validation is"),
        ({"oracle": "bayesian"}, "its oracle is random, yours bayesian"),
        ({"objective": LatencyTradeoff()}, "its objective.kind is TaskPolicy, yours LatencyTrade"),
    ],
)
def test_a_folder_of_another_search_is_an_error_and_nothing_is_touched(
    change, text, tmp_path, quick
):
    small_search(tmp_path / "search").run(max_trials=2, verbose=0)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"holds another search .*{text}"):
        small_search(tmp_path / "search", **change)
    assert contents(tmp_path) == before


def test_a_folder_of_other_files_is_an_error_and_nothing_is_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds files, and none is a search's"):
        small_search(tmp_path)
    assert list(contents(tmp_path)) == ["thesis.txt"]


def test_two_processes_cannot_search_in_one_folder(tmp_path, quick):
    def search_again(search):
        with pytest.raises(ValueError, match="another process searches in"):
            small_search(tmp_path / "search").run(verbose=0)

    small_search(tmp_path / "search").run(max_trials=1, verbose=0, after_trial=search_again)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"validation": None}, "no validation data"),
        ({"validation": small_data().take(0)}, "ProxySearch: the validation data have no batch"),
        ({"train": small_data().repeat()}, "ProxySearch: the training data never end"),
        ({"objective": TaskPolicy("gauc")}, "objective is gAUC, and `groups` is None"),
        ({"objective": TaskPolicy(weights={"clik": 1})}, "no task `clik`.*Did you mean `click`"),
        ({"oracle": "grid"}, "oracle is 'grid'; expected one of"),
        ({"seeds": (1, 1)}, r"seeds are \[1, 1\]; expected one or more, all different"),
        ({"latency_batch": 0}, "latency_batch is 0; expected 1 or more rows"),
    ],
)
def test_what_a_search_lacks_is_an_error_before_any_trial(options, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        small_search(tmp_path / "search", **options)
    assert not list(tmp_path.iterdir())


def test_without_keras_tuner_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[tuning\]"'):
        small_search(tmp_path / "search")


def test_the_trials_of_a_folder_can_be_read_without_the_data(tmp_path, quick):
    trials = small_search(tmp_path / "search").run(max_trials=2, verbose=0)
    pd.testing.assert_frame_equal(keras_infnet.search.search_trials(tmp_path / "search"), trials)
    with pytest.raises(ValueError, match="holds no search"):
        keras_infnet.search.search_trials(tmp_path)


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(p.relative_to(folder)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime)
        for p in paths
    }
