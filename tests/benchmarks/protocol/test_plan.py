import pytest

from benchmarks.protocol.runs import RunConfig
from tests.benchmarks.protocol.cases import make_plan


def finished(run, mean_auc=0.6, tested=False):
    return {run.name: {"status": "finished", "mean_auc": mean_auc, "tested": tested}}


def names(jobs):
    return [(job.kind, job.config.name) for job in jobs]


def test_a_name_tells_the_configuration_and_all_but_the_seed_is_in_the_hash():
    run = make_plan().trial_runs("INFNet", "exposures")[0]
    assert run.name == f"INFNet-m1-exposures-{run.hash}-s0"
    assert run.with_seed(3).hash == run.hash and run.with_seed(3).name.endswith("-s3")
    assert RunConfig.from_dict(run.to_dict()) == run
    for change in ({"data": "ba9876543210"}, {"tasks": ("click",)}, {"epochs": 2}):
        assert make_plan(**change).trial_runs("INFNet", "exposures")[0].hash != run.hash


def test_all_trials_come_first_and_then_the_best_one_s_seeds_and_test_rows():
    plan, records = make_plan(), {}
    trials = {m: plan.trial_runs(m, "exposures") for m in plan.models}
    assert names(plan.jobs(records)) == [
        ("train", run.name) for model in plan.models for run in trials[model]
    ]
    records |= finished(trials["INFNet"][0], 0.6) | finished(trials["INFNet"][1], 0.7)
    records |= finished(trials["SharedBottom"][0])
    best = trials["INFNet"][1]
    assert plan.chosen("INFNet", "exposures", records) == best
    assert plan.chosen("SharedBottom", "exposures", records) is None
    assert names(plan.jobs(records)) == [
        ("train", trials["SharedBottom"][1].name),
        ("test", best.name),
        ("train", best.with_seed(1).name),
    ]


def test_a_finished_plan_has_no_jobs_and_more_seeds_add_to_it():
    plan, records = make_plan(models=("INFNet",)), {}
    while jobs := list(plan.jobs(records)):
        tested = jobs[0].kind == "test"
        records |= finished(jobs[0].config, tested=tested)
    assert len(records) == 3 and plan.count(records) == 0
    more = make_plan(models=("INFNet",), seeds=3)
    assert [job.config.seed for job in more.jobs(records)] == [2]


def test_members_reuse_the_configuration_that_one_member_chose():
    plan = make_plan(models=("SharedBottom",), members=(1, 2))
    trials = plan.trial_runs("SharedBottom", "exposures")
    records = finished(trials[0], 0.8, tested=True) | finished(trials[1], 0.7)
    trained = [job.config for job in plan.jobs(records) if job.kind == "train"]
    assert [(run.members, run.seed) for run in trained] == [(1, 1), (2, 0), (2, 1)]
    assert {run.learning_rate for run in trained} == {trials[0].learning_rate}


def test_failed_trials_are_not_chosen_nor_repeated():
    plan = make_plan(models=("INFNet",))
    first, second = plan.trial_runs("INFNet", "exposures")
    failed = {first.name: {"status": "failed", "mean_auc": float("nan"), "tested": False}}
    assert plan.chosen("INFNet", "exposures", failed | finished(second)) == second
    both = failed | {second.name: failed[first.name]}
    assert plan.chosen("INFNet", "exposures", both) is None
    assert not list(plan.jobs(both))


def test_a_trial_whose_score_is_not_defined_loses():
    plan = make_plan(models=("INFNet",))
    first, second = plan.trial_runs("INFNet", "exposures")
    records = finished(first, float("nan")) | finished(second, 0.5)
    assert plan.chosen("INFNet", "exposures", records) == second


def test_alone_trains_each_task_by_itself_within_the_budget():
    plan = make_plan(models=("STEM",), alone=True, seeds=1, trials=1)
    (trial,) = plan.trial_runs("STEM", "exposures")
    jobs = list(plan.jobs(finished(trial, tested=True)))
    assert [job.config.tasks for job in jobs] == [("click",), ("like",)]
    # 16 for the shared table and 16 for the only task's are the defaults.
    assert jobs[0].config.arguments == {} and trial.arguments == {"dim": 10, "task_dim": 10}


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_left_is_known_before_anything_is_chosen(alone):
    plan, records, trained = make_plan(alone=alone, members=(1, 2)), {}, 0
    left = plan.count(records)
    while jobs := list(plan.jobs(records)):
        trained += jobs[0].kind == "train"
        records |= finished(jobs[0].config, tested=jobs[0].kind == "test")
    assert left == trained


def test_of_the_ablations_those_that_are_asked_for_are_run():
    plan = make_plan(seeds=2, ablations=True, changes=("flows", "normalisation"))
    chosen = plan.trial_runs("INFNet", "exposures")[0]
    found = [name for name, _, _ in plan.ablation_runs(chosen)]
    assert found == ["default"] * 2 + ["flows"] * 2 + ["normalisation"] * 6
    assert len(plan.ablation_runs(chosen)) < len(make_plan(seeds=2).ablation_runs(chosen))
