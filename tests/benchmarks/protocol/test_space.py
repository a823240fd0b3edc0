import keras
import pytest

import keras_infnet
from benchmarks.protocol.ablations import (
    ABLATIONS,
    OF_HISTORIES,
    ablation_run,
    ablations_of,
    check_changes,
)
from benchmarks.protocol.space import (
    EMBEDDING_BUDGET,
    VARIANTS,
    Trial,
    arguments_of,
    arguments_with,
    build_model,
    check_models,
    defaults_of,
    draw_trials,
)
from tests import tiny
from tests.benchmarks.protocol.cases import make_plan


def test_the_first_trial_is_the_default_and_more_trials_extend_fewer():
    assert draw_trials(1) == [Trial(2e-3, 0.0, "default", 1)]
    assert draw_trials(7)[:3] == draw_trials(3)
    assert len(set(draw_trials(81))) == 81


@pytest.mark.parametrize("number", [0, 82])
def test_a_number_of_trials_outside_the_space_is_an_error(number):
    with pytest.raises(ValueError, match=f"`--trials` is {number}; expected 1 to 81"):
        draw_trials(number)


def test_every_model_but_one_says_what_is_its_depth():
    depths = {name: arguments_with(name, "depth") for name in keras_infnet.models.MODELS}
    assert [name for name, found in depths.items() if len(found) != 1] == ["FM"]
    assert arguments_with("DIN", "width") == ["head_dim", "activation_dims", "hidden_dims"]


@pytest.mark.parametrize("name", sorted(keras_infnet.models.MODELS))
def test_the_first_trial_is_the_library_s_defaults_within_the_budget(name):
    arguments = arguments_of(name, Trial(), num_tasks=3)
    assert set(arguments) <= {"dim", "task_dim"}
    widths = {**defaults_of(name), **arguments}
    assert widths["dim"] + 3 * widths.get("task_dim", 0) == EMBEDDING_BUDGET


@pytest.mark.parametrize(
    ("name", "trial", "expected"),
    [
        ("SharedBottom", Trial(width="half"), {"hidden_dims": [128, 64], "head_dim": 32}),
        ("SharedBottom", Trial(blocks=3), {"hidden_dims": [256, 256, 256, 128]}),
        (
            "INFNet",
            Trial(1e-3, 0.1, "double", 2),
            {"dropout": 0.1, "head_dim": 128, "num_blocks": 2},
        ),
        ("INFNet-no-flow", Trial(blocks=3), {"num_blocks": 0}),
        ("PLE", Trial(blocks=2), {"num_levels": 3}),
        ("STEM", Trial(), {"dim": 8, "task_dim": 8}),
        ("FM", Trial(width="half", blocks=3, dropout=0.2), {"dropout": 0.2}),
    ],
)
def test_width_and_depth_are_relative_to_the_defaults(name, trial, expected):
    assert arguments_of(name, trial, num_tasks=3) == expected


@pytest.mark.parametrize("name", [*sorted(keras_infnet.models.MODELS), *VARIANTS])
def test_a_model_is_made_with_every_size(name):
    schema = tiny.schema("exposures")
    trial = Trial(dropout=0.2, width="half", blocks=2)
    model = build_model(name, schema, arguments_of(name, trial, num_tasks=3), members=1)
    assert set(model.output) == {"click", "like", "long_view"}
    keras.backend.clear_session()


def test_unknown_models_are_told_the_nearest_and_all_is_spelled_out():
    with pytest.raises(ValueError, match="No model `SharedBotom`. Did you mean `SharedBottom`?"):
        check_models(["INFNet", "SharedBotom"])
    assert check_models(["INFNet", "all"])[0] == "INFNet"
    of_all = [*keras_infnet.models.MODELS, "LightGBM", "LightGBM-raw"]
    assert check_models(["all"]) == of_all


def test_every_ablation_changes_the_chosen_configuration():
    chosen = make_plan().trial_runs("INFNet", "exposures")[1]
    runs = [ablation_run(ablation, chosen) for ablation in ABLATIONS]
    assert runs[0] == chosen
    for ablation, run in zip(ABLATIONS, runs, strict=True):
        assert run.learning_rate == chosen.learning_rate
        for key, value in ablation.arguments.items():
            assert {**defaults_of(run.model), **run.arguments}[key] == value
    # A setting of a curve may be the chosen one, and alternation stands beside equal depths.
    assert len({run.name for run in runs}) >= len(runs) - 6


def test_a_log_has_the_ablations_that_change_something_on_it():
    of_kuairand, of_movielens, of_census = (
        [(a.name, a.setting) for a in ablations_of(log)]
        for log in ("kuairand-cold", "movielens", "census-income")
    )
    assert of_kuairand == [(a.name, a.setting) for a in ABLATIONS]
    assert set(of_kuairand) - set(of_movielens) == {("histories", "positives")}
    assert not {name for name, _ in of_census} & set(OF_HISTORIES)
    with pytest.raises(ValueError, match="No ablation `pooling` on census-income"):
        check_changes(["flows", "pooling"], "census-income")
