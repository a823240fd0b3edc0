import shutil
from dataclasses import replace

import pytest

from benchmarks.protocol.pool import Job
from benchmarks.protocol.runs import new_folder, read_json, write_json
from benchmarks.protocol.store import RunStore, update_numbers
from benchmarks.protocol.tables import Tables
from tests.benchmarks.protocol.cases import TASKS, make_plan

PLAN = make_plan(models=("INFNet",))
FIRST, SECOND = PLAN.trial_runs("INFNet", "exposures")
SIZES = {"parameters": 100, "table_parameters": 60, "seconds": 1.5}


def finish(store, run, auc, tested=False):
    """What a worker leaves of a run, and the store's note of it."""
    metrics = {task: {"auc": auc} for task in run.tasks}
    if not (store.runs / run.name).exists():
        with new_folder(store.runs, run) as folder:
            write_json(folder / "result.json", {"metrics": metrics, "mean_auc": auc, **SIZES})
    if tested:
        write_json(store.runs / run.name / "test.json", metrics)
    store.finish(Job("test" if tested else "train", run), {"seconds": 1.5})


def pair(model, other, members=1):
    known = {"histories": "exposures", "split": "test", "task": "click", "metric": "auc"}
    return {**known, "members": members, "model": model, "other": other, "difference": 0.1}


def make_store(path):
    return RunStore(path / "out", Tables([path / "out", path / "results"]))


def finished_store(path):
    """All that `PLAN` asks for."""
    store = make_store(path)
    finish(store, FIRST, 0.6)
    for run in (SECOND, SECOND.with_seed(1)):
        finish(store, run, 0.7)
        finish(store, run, 0.7, tested=True)
    update_numbers(store, PLAN)
    return store


def values(store, name="results.csv"):
    table = store.tables[name]
    table = table[table["task"] == TASKS[0]]
    return dict(zip(zip(table["split"], table["seed"], strict=True), table["value"], strict=True))


def test_only_runs_of_the_chosen_configuration_are_results(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    update_numbers(store, PLAN)
    assert store.tables["results.csv"].empty
    finish(store, SECOND, 0.7)
    finish(store, SECOND, 0.7, tested=True)
    finish(store, SECOND.with_seed(1), 0.8)
    update_numbers(store, PLAN)
    assert values(store) == {("validation", 0): 0.7, ("test", 0): 0.7, ("validation", 1): 0.8}
    runs = store.tables["runs.csv"].set_index("run")
    assert runs["chosen"].to_dict() == {
        FIRST.name: False,
        SECOND.name: True,
        SECOND.with_seed(1).name: True,
    }


def test_tables_alone_say_what_was_done_when_folders_are_gone(tmp_path):
    store = finished_store(tmp_path)
    later = RunStore(tmp_path / "other", Tables([tmp_path / "other", tmp_path / "results"]))
    assert not list(PLAN.jobs(later.records))
    update_numbers(later, PLAN)
    assert values(later) == values(store) and len(values(later)) == 4


def test_a_later_choice_takes_the_place_of_an_earlier_one(tmp_path):
    store = make_store(tmp_path)
    one_trial = make_plan(models=("INFNet",), trials=1)
    for run in (FIRST, FIRST.with_seed(1)):
        finish(store, run, 0.6)
        finish(store, run, 0.6, tested=True)
    update_numbers(store, one_trial)
    finish(store, SECOND, 0.7)
    update_numbers(store, PLAN)
    # The new choice has neither test rows nor a second seed yet.
    assert values(store) == {("validation", 0): 0.7}
    assert not store.records[FIRST.name]["chosen"]


def test_fewer_seeds_and_other_models_leave_what_is_there(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.5)
    for seed in range(3):
        finish(store, SECOND.with_seed(seed), 0.7)
        finish(store, SECOND.with_seed(seed), 0.7, tested=True)
    update_numbers(store, make_plan(models=("INFNet",), seeds=3))
    for plan in (make_plan(models=("INFNet",), seeds=1), make_plan(models=("SharedBottom",))):
        later = make_store(tmp_path)
        update_numbers(later, plan)
        assert len(values(later)) == 6
        marked = later.tables["runs.csv"].set_index("run")["chosen"]
        assert marked.sum() == 3 and not marked[FIRST.name]


def test_numbers_of_an_earlier_choice_leave_the_ablations_and_the_transfer(tmp_path):
    one_trial = make_plan(models=("INFNet",), trials=1, seeds=1, ablations=True, alone=True)
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    finish(store, next(r for n, _, r in one_trial.ablation_runs(FIRST) if n == "flows"), 0.5)
    finish(store, one_trial.alone_runs(FIRST, "click")[0], 0.5)
    update_numbers(store, one_trial)
    assert {"default", "flows"} <= set(store.tables["ablation.csv"]["ablation"])
    assert len(store.tables["transfer.csv"]) == 1
    finish(store, SECOND, 0.7)
    later = make_plan(models=("INFNet",), seeds=1, ablations=True, alone=True)
    update_numbers(store, later)
    # The new choice is its own default; its changes are yet to be run.
    assert set(store.tables["ablation.csv"]["value"]) == {0.7}
    assert store.tables["transfer.csv"].empty


def test_a_failed_run_stays_failed_until_it_is_retried(tmp_path):
    store = make_store(tmp_path)
    store.finish(Job("train", FIRST), {"failed": "killed by SIGKILL", "ended": 1})
    again = make_store(tmp_path)
    assert again.records[FIRST.name]["reason"] == "killed by SIGKILL"
    assert [job.config for job in PLAN.jobs(again.records)] == [SECOND]
    again.retry_failed()
    assert FIRST.name not in make_store(tmp_path).records
    assert not (again.runs / f"{FIRST.name}.failed").exists()


def test_test_rows_that_failed_fail_the_run(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    store.finish(Job("test", FIRST), {"failed": "3 predictions are NaN"})
    assert store.records[FIRST.name]["reason"] == "3 predictions are NaN"


def test_alone_and_together_stand_side_by_side(tmp_path):
    plan = make_plan(models=("INFNet",), trials=1, seeds=1, alone=True)
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    for task, auc in zip(TASKS, (0.7, 0.5), strict=True):
        finish(store, plan.alone_runs(FIRST, task)[0], auc)
    update_numbers(store, plan)
    table = store.tables["transfer.csv"].set_index("task")
    assert table["alone"].to_dict() == dict(zip(TASKS, (0.7, 0.5), strict=True))
    assert "value" not in table
    assert set(table["together"]) == {0.6} and set(table["split"]) == {"validation"}


def test_numbers_whose_folders_are_gone_stand_beside_new_ones(tmp_path):
    """The default of the ablations, and the tasks together, were trained by an earlier command."""
    before = make_plan(models=("INFNet",), trials=1, seeds=1)
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    finish(store, FIRST, 0.6, tested=True)
    update_numbers(store, before)
    plan = replace(before, ablations=True, alone=True)
    later = RunStore(tmp_path / "other", Tables([tmp_path / "other", tmp_path / "results"]))
    for task in TASKS:
        finish(later, plan.alone_runs(FIRST, task)[0], 0.5)
    update_numbers(later, plan)
    transfer, ablation = later.tables["transfer.csv"], later.tables["ablation.csv"]
    assert set(transfer["together"]) == {0.6} and set(transfer["task"]) == set(TASKS)
    assert ablation.loc[ablation["ablation"] == "default", "value"].tolist() == [0.6, 0.6]


def test_reported_runs_whose_folders_are_gone_can_be_repeated(tmp_path):
    store = finished_store(tmp_path)
    assert store.train_again(["INFNet"], [1]) == 0
    assert not list(PLAN.jobs(store.records))
    later = RunStore(tmp_path / "other", Tables([tmp_path / "other", tmp_path / "results"]))
    later.train_again(["SharedBottom"], [1])
    later.train_again(["INFNet"], [2])
    assert not list(PLAN.jobs(later.records))
    later.tables.put("paired.csv", [pair("INFNet", "FM"), pair("INFNet", "FM", members=2)])
    assert later.train_again(["INFNet"], [1]) == 2
    assert {SECOND.name, SECOND.with_seed(1).name}.isdisjoint(later.records)
    assert later.tables["paired.csv"]["members"].tolist() == [2]
    assert FIRST.name in later.records
    assert [job.config for job in PLAN.jobs(later.records)] == [SECOND]


def test_ablations_stand_in_a_table_of_their_own(tmp_path):
    plan = make_plan(models=("INFNet",), trials=1, seeds=1, ablations=True)
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6, tested=False)
    runs = {name: run for name, _, run in plan.ablation_runs(FIRST)}
    finish(store, runs["flows"], 0.5)
    update_numbers(store, plan)
    table = store.tables["ablation.csv"]
    by_name = table[table["task"] == "like"].drop_duplicates("ablation").set_index("ablation")
    assert by_name.loc["default", "value"] == 0.6 and by_name.loc["flows", "value"] == 0.5
    assert set(table["split"]) == {"validation"}


def test_a_finished_run_of_other_defaults_is_an_error(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    path = store.runs / FIRST.name / "config.json"
    kept = read_json(path)
    write_json(path, {**kept, "defaults": {**kept["defaults"], "head_dim": 7}})
    with pytest.raises(ValueError, match="defaults of INFNet have changed since"):
        make_store(tmp_path)


def test_a_known_run_of_other_defaults_is_an_error_though_its_folder_is_gone(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    table = store.tables["defaults.csv"].set_index("argument")
    assert (
        table.loc["head_dim", "default"] == "64" and table.loc["task_tokens", "default"] == "true"
    )
    shutil.rmtree(store.runs)
    make_store(tmp_path)
    path = tmp_path / "results" / "defaults.csv"
    path.write_text(path.read_text().replace("INFNet,head_dim,64", "INFNet,head_dim,7"))
    with pytest.raises(ValueError, match=r"defaults.csv: .* of INFNet .*head_dim was 7, is 64"):
        make_store(tmp_path)


def test_a_folder_under_another_name_is_an_error(tmp_path):
    store = make_store(tmp_path)
    finish(store, FIRST, 0.6)
    (store.runs / FIRST.name).rename(store.runs / SECOND.name)
    with pytest.raises(ValueError, match=f"its config.json is of {FIRST.name}.*never mixed"):
        make_store(tmp_path)
