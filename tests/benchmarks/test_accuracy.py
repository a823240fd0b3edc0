"""The command as a user runs it: killed in the middle, gone on with, and its mistakes."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from benchmarks.accuracy import main, only_command
from tests.benchmarks.protocol.cases import TASKS
from tests.house.source import ROOT

COMMAND = [sys.executable, "-m", "benchmarks.accuracy"]
QUICK = ["--quick", "--simulate", "2000", "--tasks", *TASKS, "--seeds", "1"]
# The command compiles much and runs little here: XLA need not optimise.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
ENVIRONMENT = {"XLA_FLAGS": XLA_FLAGS, **os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE = 300


def accuracy(*arguments):
    """What the command prints, in this process: starting one takes seconds."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        for name in ("XLA_FLAGS", "PYTHONPATH"):
            patch.setenv(name, ENVIRONMENT[name])
        patch.setattr(sys, "argv", ["accuracy.py", *map(str, arguments)])
        main()
    return printed.getvalue()


def mistake(monkeypatch, *arguments):
    """What the command says at its end, in this process: starting one takes seconds."""
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def finished_runs(out):
    return sorted(path for path in (out / "runs").glob("[!.]*") if path.is_dir())


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A command that is killed after its first run, and the same command again."""
    out = tmp_path_factory.mktemp("accuracy") / "out"
    arguments = [*QUICK, "--out", str(out)]
    child = subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    try:
        while not finished_runs(out):
            assert time.monotonic() < end
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (first,) = finished_runs(out)
    kept = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    printed = accuracy(*arguments, "--results", out.with_name("results"))
    return out, first, kept, printed


def test_a_killed_command_goes_on_without_repeating_a_run(resumed):
    out, first, kept, printed = resumed
    now = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert {name: now[name] for name in kept} == kept
    assert "model.weights.h5" in kept and "validation.parquet" in kept
    assert f"] {first.name}:" not in printed
    assert [path.name.split("-")[0] for path in finished_runs(out)] == ["INFNet", "SharedBottom"]
    assert not list((out / "runs").glob(".*"))


def test_every_number_is_a_row_of_the_results(resumed):
    results = pd.read_csv(resumed[0] / "results.csv")
    assert list(results.columns) == "model members histories task split metric seed value".split()
    metrics = {"auc", "gauc", "gauc_frozen", "gauc_user_day", "log_loss"}
    assert len(results) == 2 * 2 * 2 * len(metrics)
    assert set(results["metric"]) == metrics and set(results["split"]) == {"validation", "test"}
    assert results["value"].between(0, 1).all()


def test_predictions_of_a_run_give_its_numbers(resumed):
    out = resumed[0]
    folder = finished_runs(out)[0]
    rows = pd.read_parquet(folder / "test.parquet")
    positive, negative = (rows.loc[rows["click_label"] == k, "click"].to_numpy() for k in (1, 0))
    pairs = positive[:, None] - negative[None, :]
    auc = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert json.loads((folder / "test.json").read_text())["click"]["auc"] == pytest.approx(auc)
    assert not rows.duplicated(["user_id", "time_ms", "video_id"]).any()


def test_the_report_has_the_comparisons_and_stands_in_both_folders(resumed):
    out = resumed[0]
    text = (out / "results.md").read_text()
    for part in (
        "## Test rows, exposures, members 1",
        "### INFNet against the best other model",
        "### Distance to the best possible AUC",
        "## What a gAUC is of",
        "## Chosen configurations",
    ):
        assert part in text
    names = {"results.csv", "runs.csv", "paired.csv", "results.md", "protocol.json"}
    assert names <= {path.name for path in out.with_name("results").iterdir()}
    assert (out.with_name("results") / "results.md").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--simulate", "2000", "--tasks", "click"], "holds runs of another protocol (tasks"),
        (["--simulate", "2000", "--tasks", *TASKS, "--epochs", "2"], "protocol (epochs 1, not 2)"),
        (["--simulate", "500"], "holds runs of another protocol (source"),
    ],
)
def test_another_protocol_is_never_mixed_in(resumed, monkeypatch, arguments, message):
    assert message in mistake(monkeypatch, *arguments, "--models", "FM", "--out", resumed[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "INFNett"], "No model `INFNett`. Did you mean `INFNet`?"),
        (["--tasks", "clik"], "Did you mean `click`?"),
        (["--tasks", "click", "like", "click"], "task `click` is given 2 times"),
        (["--ablations", "form", "flow"], "No ablation `flow` on kuairand. Did you mean `flows`?"),
        (["--data", str(ROOT / "docs")], "holds no log"),
        (["--models", "FM", "--again", "INFNet"], "--again INFNet: expected models that --models"),
        (["--again", "INFNet", "--report"], "--again with --report, which trains nothing"),
        (["--trials", "0"], "`--trials` is 0; expected 1 to 81"),
    ],
)
def test_a_mistake_ends_with_one_line_that_names_it(tmp_path, monkeypatch, arguments, message):
    given = [] if "--data" in arguments else ["--simulate", "500"]
    said = mistake(monkeypatch, *given, *arguments, "--out", tmp_path / "out")
    assert said.startswith("accuracy: ") and message in said and "\n" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--simulate", "500", "--seeds", "0"], "--seeds must be 1 or more, not 0"),
        (["--simulate", "500", "--members", "1", "0"], "--members must be 1 or more, not 0"),
        (
            ["--simulate", "500", "--limit-minutes", "-1"],
            "--limit-minutes must be 0 or more, not -1",
        ),
        ([], "give either --data DIR or --simulate ROWS"),
    ],
)
def test_numbers_that_make_no_sense_end_with_the_usage(monkeypatch, capsys, arguments, message):
    assert mistake(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_report_is_rewritten_from_the_tables_alone(resumed, tmp_path, monkeypatch):
    results = resumed[0].with_name("results")
    text = (results / "results.md").read_text()
    (results / "results.md").unlink()
    arguments = ["--report", "--models", "INFNet", "SharedBottom", "--trials", 1, "--seeds", 1]
    given = [*arguments, "--out", tmp_path / "new", "--results", results]
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, given)])
    main()
    assert (results / "results.md").read_text() == text


def test_a_new_folder_of_results_gets_tables_and_report(resumed, tmp_path, monkeypatch):
    results = resumed[0].with_name("results")
    given = ["--report", "--out", results, "--results", tmp_path / "new" / "results"]
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, given)])
    main()
    for name in ("results.csv", "runs.csv", "protocol.json", "results.md"):
        found = (tmp_path / "new" / "results" / name).read_text()
        assert found == (results / name).read_text()


def test_a_report_of_nothing_is_a_mistake(tmp_path, monkeypatch):
    said = mistake(monkeypatch, "--report", "--out", tmp_path / "out")
    assert "holds no runs to report on" in said


def test_two_commands_don_t_share_a_folder(tmp_path):
    with only_command(tmp_path), pytest.raises(ValueError, match="in use by another command"):
        with only_command(tmp_path):
            pass
