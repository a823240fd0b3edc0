"""The command as a user runs it; what it trains is made up but for one trial."""

import contextlib
import html
import importlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import keras_infnet
from keras_infnet.search.trials import TrialTraining
from tests import tiny
from tests.house.source import ROOT
from tests.search.small_search import made_up_training

QUICK = ["--quick", "--rows", "600", "--batch-size", "64"]
MADE_UP = Path(__file__).with_name("quick_search.py")
PLOTS = ("proxy_count.png", "pareto_front.png", "parallel_coordinates.png")


def start(*arguments, **environment):
    command = [sys.executable, str(MADE_UP), *QUICK, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def run_here(*arguments, made_up=False):
    """What the command prints, in this process: starting one takes seconds."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.syspath_prepend(ROOT / "tuning")
        program = importlib.import_module("proxy_search")
        if made_up:
            patch.setattr(TrialTraining, "run", made_up_training)
            patch.setattr(program, "PROGRAM", MADE_UP)
        # The command would set the flags for all that comes after; its workers get the rest.
        patch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setattr(sys, "argv", [str(program.PROGRAM), *QUICK, *map(str, arguments)])
        program.main()
    return printed.getvalue()


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A search that was killed in its third trial, and started again by the same command."""
    folder = tmp_path_factory.mktemp("runs") / "search"
    arguments = ("--max-trials", 6, "--dir", folder)
    process = start(*arguments, PAUSE_AT="2")
    for line in process.stdout:
        if line.startswith("in trial_2"):
            break
    killed = keras_infnet.search.search_trials(folder)
    process.kill()
    process.communicate()
    return folder, killed, run_here(*arguments, made_up=True)


def test_a_killed_search_loses_no_finished_trial_and_runs_the_interrupted_one_again(resumed):
    folder, killed, output = resumed
    assert list(killed["status"]) == ["finished", "finished", "unfinished"]
    trials = keras_infnet.search.search_trials(folder)
    assert list(trials["status"]) == ["finished"] * 6
    assert list(trials["attempts"]) == [1, 1, 2, 1, 1, 1]
    columns = ["trial", "score", "num_field_proxies", "seconds", "elapsed_seconds"]
    pd.testing.assert_frame_equal(trials[columns][:2], killed[columns][:2])
    assert trials["num_field_proxies"][2] == killed["num_field_proxies"][2]
    assert trials["elapsed_seconds"].is_monotonic_increasing
    assert "6/6 trials" in output and "time left" in output


def test_the_folder_has_the_report_and_nothing_unfinished(resumed):
    folder = resumed[0]
    names = {path.name for path in folder.iterdir()}
    expected = {"report.html", "report.md", "trials.csv", "best_config.json", *PLOTS}
    assert expected <= names
    assert not [name for name in names if "unfinished" in name]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in PLOTS)
    trials = pd.read_csv(folder / "trials.csv")
    best = json.loads((folder / "best_config.json").read_text("utf-8"))
    assert best["score"] == pytest.approx(trials["score"].max())


def test_the_page_needs_no_other_file_and_has_every_trial(resumed):
    folder = resumed[0]
    page = (folder / "report.html").read_text("utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == len(PLOTS) and "http" not in page
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    text = html.unescape(page) + (folder / "report.md").read_text("utf-8")
    for score in pd.read_csv(folder / "trials.csv")["score"]:
        assert text.count(f"{score:.4f}") >= 2
    assert "Number of categorical proxies: mean quality is highest with" in text


def test_the_report_shows_how_to_make_the_best_model(resumed):
    folder = resumed[0]
    (block,) = re.findall(
        r"^```python\n(.*?)^```",
        (folder / "report.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    names = {"schema": tiny.schema()}
    exec(compile(block, "report.md", "exec"), names)
    best = json.loads((folder / "best_config.json").read_text("utf-8"))["arguments"]
    config = names["model"].get_config()
    assert best and {key: config[key] for key in best} == best


def test_two_workers_share_the_trials(tmp_path):
    folder = tmp_path / "search"
    with pytest.raises(SystemExit) as ended:
        run_here("--max-trials", 4, "--dir", folder, "--workers", 2, made_up=True)
    assert ended.value.code == 0
    trials = keras_infnet.search.search_trials(folder)
    assert list(trials["status"]) == ["finished"] * 4
    assert list(trials["attempts"]) == [1] * 4
    logs = sorted(path.name for path in (tmp_path / "search-workers").iterdir())
    assert logs == ["worker-0.log", "worker-1.log"]
    assert len(pd.read_csv(folder / "trials.csv")) == 4
    assert (folder / "report.html").is_file()


def test_a_trial_is_truly_trained_and_the_policy_is_in_the_report(tmp_path):
    folder = tmp_path / "search"
    options = ["--objective", "gauc", "--weights", "click=2", "like=1", "--floors", "click=0.1"]
    output = run_here("--max-trials", 1, "--dir", folder, *options)
    (trial,) = keras_infnet.search.search_trials(folder).to_dict("records")
    expected = (2 * trial["click_gauc"] + trial["like_gauc"]) / 3
    assert trial["quality"] == pytest.approx(expected)
    report = (folder / "report.md").read_text("utf-8")
    assert "gAUC weighted click 2, like 1, floors click 0.1" in report
    assert "1/1 trials" in output


def test_a_mistake_is_one_line(tmp_path):
    with pytest.raises(SystemExit) as ended:
        run_here("--dims", 0, "--dir", tmp_path / "search")
    assert ended.value.code == "proxy_search: SearchSpace: `dim` must be 1 or more. Received: (0,)"
