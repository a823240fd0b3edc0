import pandas as pd
import pytest

from benchmarks.protocol.ablations import ABLATIONS, COMMIT_OF_OTHERS
from benchmarks.protocol.cost import REFERENCE
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.plots import draw_plots
from benchmarks.protocol.report import (
    ablation_section,
    signed,
    spread,
    table,
    transfer_section,
    with_mean,
    write_report,
)
from benchmarks.protocol.runs import read_json
from benchmarks.protocol.tables import Tables
from tests.house.source import ROOT

METRICS = LOGS["kuairand"].metrics

TASKS = ["click", "like"]
PROTOCOL = {
    "data": "0123456789ab",
    "source": "simulated",
    "tasks": TASKS,
    "epochs": 1,
    "batch_size": 256,
    "evaluations_per_epoch": 2,
    "backend": "tensorflow",
    "rows": {"train": 900, "validation": 50, "test": 50},
}
# Mean AUC over tasks and seeds: INFNet .70, SharedBottom .72, PLE .71.
MODELS = {"INFNet": 0.70, "SharedBottom": 0.72, "PLE": 0.71}


def numbers(level, **known):
    """A value for each task (like .1 above click), split, metric and seed (.02 apart)."""
    return [
        {**known, "task": task, "split": split, "metric": metric, "seed": seed, "value": value}
        for task, shift in (("click", -0.05), ("like", 0.05))
        for split in ("validation", "test")
        for metric in METRICS
        for seed, noise in ((0, -0.01), (1, 0.01))
        for value in (level + shift + noise,)
    ]


def fill(tables):
    rows = [
        row
        for model, level in MODELS.items()
        for row in numbers(level, model=model, members=1, histories="exposures")
    ]
    tables.put("results.csv", rows)
    known = {"members": 1, "histories": "exposures", "split": "test", "model": "INFNet"}
    paired = [
        {**known, "task": task, "metric": metric, "other": other, "difference": -0.02}
        | {"standard_error": 0.008, "seeds": 2, "resamples": 500, "runs": "01234567"}
        for task in (*TASKS, "mean")
        for metric in METRICS
        for other in ("SharedBottom", "PLE")
    ]
    tables.put("paired.csv", paired)
    ablations = [
        row
        for ablation in ABLATIONS
        for row in numbers(0.69, ablation=ablation.name, setting=ablation.setting)
        if row["split"] == "validation"
    ]
    tables.put("ablation.csv", ablations)
    tables.put("cost.csv", [cost(model, i) for i, model in enumerate(MODELS)])
    tables.put(
        "best.csv", [best(task, split) for task in TASKS for split in ("validation", "test")]
    )
    failed = {"run": "FM-m1-exposures-01234567-s0", "status": "failed", "reason": "out of memory"}
    tables.put("runs.csv", [{**failed, "chosen": False}])
    transfer = [
        {**row, "alone": row["value"], "together": row["value"] + 0.01}
        for row in numbers(0.7, model="PLE", histories="exposures")
    ]
    tables.put("transfer.csv", transfer)


def cost(model, place):
    return {
        "model": model,
        "members": 1,
        "histories": "exposures",
        "setting": "default",
        "parameters": 1_000_000 * (place + 1),
        "table_parameters": 400_000,
        "dense_parameters": 600_000,
        "compile_seconds": 4.0,
        "train_examples_per_second": 9_000.0,
        "inference_examples_per_second": 50_000.0,
        f"train_time_relative_to_{REFERENCE}": 0.5,
        "machine": "two cores",
    }


def best(task, split):
    return {"task": task, "split": split, "best_auc": 0.8, "true_auc": 0.85}


@pytest.fixture
def report(tmp_path):
    tables = Tables([tmp_path])
    fill(tables)
    plots = draw_plots(tables, tmp_path)
    write_report(tables, PROTOCOL, plots, tmp_path)
    return tmp_path, (tmp_path / "results.md").read_text()


def test_models_stand_in_the_order_of_the_mean(report):
    section = report[1].split("### AUC\n\n")[1].split("###")[0]
    assert [line.split(" | ")[0].strip("| ") for line in section.splitlines()[2:5]] == [
        "SharedBottom",
        "PLE",
        "INFNet",
    ]
    assert "| SharedBottom | 0.6700 ± 0.0141 | 0.7700 ± 0.0141 | 0.7200 ± 0.0141 | 2 |" in section


def test_the_best_other_model_is_the_highest_and_for_log_loss_the_lowest(report):
    assert "| auc | mean | 0.7000 | SharedBottom | 0.7200 | -0.0200 ± 0.0080 | -2.5 |" in report[1]
    assert "| log_loss | mean | 0.7000 | PLE | 0.7100 | -0.0200 ± 0.0080 | -2.5 |" in report[1]


def test_the_best_other_model_is_named_where_it_can_not_be_paired(tmp_path):
    tables = Tables([tmp_path])
    fill(tables)
    tables.put("paired.csv", [], instead=tables["paired.csv"]["other"] == "SharedBottom")
    write_report(tables, PROTOCOL, [], tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| auc | mean | 0.7000 | SharedBottom | 0.7200 | not paired |  |" in text
    assert "| log_loss | mean | 0.7000 | PLE | 0.7100 | -0.0200 ± 0.0080 | -2.5 |" in text


def test_ablations_stand_in_the_order_that_they_are_listed_in(report):
    section = report[1].split("## Ablations\n\n")[1].split("\n## ")[0]
    lines = [line.split(" | ")[:2] for line in section.splitlines() if line.startswith("| ")][1:]
    assert lines == [[f"| {ablation.name}", ablation.setting] for ablation in ABLATIONS]


def test_every_table_has_its_section(report):
    text = report[1]
    for part in (
        "| SharedBottom | 0.1300 | 0.0300 | 0.0800 |",
        "| PLE | default | 3,000,000 | 400,000 | 4.0 | 9,000 | 50,000 | 0.50 |",
        "| default | chosen configuration |",
        "| PLE | exposures | like | 0.7500 ± 0.0141 | 0.7600 ± 0.0141 | 0.0100 ± 0.0000 | gains |",
        "| FM-m1-exposures-01234567-s0 | out of memory |",
        "rows: 900 train, 50 validation, 50 test",
    ):
        assert part in text
    assert text.index("## Test rows") < text.index("## Validation rows")


def test_both_figures_are_drawn_and_shown(report):
    names = {"auc_and_inference_time.png", "number_of_proxies.png"}
    assert names == {path.name for path in report[0].glob("*.png")}
    assert all(f"]({name})" in report[1] for name in names)


def test_without_runs_the_report_says_so(tmp_path):
    tables = Tables([tmp_path])
    assert draw_plots(tables, tmp_path) == []
    write_report(tables, PROTOCOL, [], tmp_path)
    assert "No run of a chosen configuration is finished." in (tmp_path / "results.md").read_text()


def test_the_mean_over_tasks_is_taken_for_each_seed():
    frame = pd.DataFrame(
        {"task": ["a", "b", "a", "b"], "seed": [0, 0, 1, 1], "value": [0.0, 1.0, 2.0, 4.0]}
    )
    means = with_mean(frame)
    assert means[means["task"] == "mean"]["value"].tolist() == [0.5, 3.0]


def test_numbers_in_tables():
    assert spread(pd.Series([1.0, 2.0])) == "1.5000 ± 0.7071"
    assert spread(pd.Series([1.0])) == "1.0000"
    assert spread(pd.Series([float("nan")])) == signed(float("nan")) == "not defined"
    assert signed(0.5, 0.25) == "+0.5000 ± 0.2500"
    assert table(["a", "b"], [[1, "x"]]) == "| a | b |\n|---|---|\n| 1 | x |"


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.010, 0.011, 0.012), "gains"),
        ((-0.010, -0.011, -0.012), "loses"),
        ((0.010, -0.009, 0.002), "neither"),
        ((0.010,), "neither"),
    ],
)
def test_a_task_gains_or_loses_beyond_the_noise_of_its_seeds(gains, verdict):
    known = {"model": "PLE", "histories": "exposures", "task": "like"}
    known |= {"split": "test", "metric": "auc", "alone": 0.7}
    frame = pd.DataFrame([{**known, "together": 0.7 + gain} for gain in gains])
    assert transfer_section(frame, ["like"]).strip().endswith(f"| {verdict} |")


COMMITTED = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/protocol.json"))


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_committed_report_is_that_of_its_committed_tables(folder, tmp_path):
    plots = [
        name
        for name in ("auc_and_inference_time.png", "number_of_proxies.png")
        if (folder / name).exists()
    ]
    write_report(Tables([folder]), read_json(folder / "protocol.json"), plots, tmp_path)
    assert (tmp_path / "results.md").read_text() == (folder / "results.md").read_text()


def test_a_change_whose_switch_is_gone_names_the_last_commit_with_it(tmp_path):
    tables = Tables([tmp_path])
    fill(tables)
    assert COMMIT_OF_OTHERS not in ablation_section(tables["ablation.csv"], TASKS)
    gone = numbers(0.69, ablation="proxies as memory", setting="proxy_memory=True")
    tables.put("ablation.csv", [row for row in gone if row["split"] == "validation"])
    text = ablation_section(tables["ablation.csv"], TASKS)
    assert f"| proxies as memory | proxy_memory=True ({COMMIT_OF_OTHERS}) |" in text
    assert "of a switch that INFNet no longer has" in text
