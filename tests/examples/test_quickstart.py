"""The demo as a user runs it, on few simulated rows."""

import contextlib
import importlib
import io
import json
import sys

import pytest

from tests.house.source import ROOT

# What it calls is tested on either backend, each by its own tests.
pytestmark = pytest.mark.one_backend

TASKS = {"click", "like", "long_view"}


def quickstart(*arguments):
    """What it prints, in this process: starting one takes seconds, and compiling for it more."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.syspath_prepend(ROOT / "examples")
        patch.setattr(sys, "argv", ["quickstart.py", *map(str, arguments)])
        importlib.import_module("quickstart").main()
    return printed.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "demo"
    printed = quickstart("--rows", 6000, "--out", out)
    return out, printed, json.loads((out / "report.json").read_text())


def test_the_report_has_every_number_of_every_model_split_and_task(demo):
    report = demo[2]
    assert set(report["models"]) == {"INFNet", "SharedBottom"}
    for splits in report["models"].values():
        assert set(splits) == {"validation", "test"}
        for tasks in splits.values():
            assert set(tasks) == TASKS
            for numbers in tasks.values():
                assert 0 < numbers["auc"] < 1
                assert 0.5 < numbers["best_auc"] < 1 and 0.5 < numbers["true_auc"] < 1
                assert 0 < numbers["gauc"] < 1 and 0 < numbers["gauc_frozen"] < 1
                assert 0 < numbers["log_loss"] < 1
    assert 0 <= report["served_max_abs_diff"] <= 1e-5
    assert sum(report["rows"].values()) == 6000
    assert {"data", "seeds", "versions", "seconds"} <= set(report)


def test_a_hundred_candidates_are_scored_by_the_exported_model(demo):
    served = demo[2]["served"]
    assert len(served["candidates"]) == 100
    assert set(served["scores"]) == TASKS
    for scores in served["scores"].values():
        assert len(scores) == 100 and all(0 < score < 1 for score in scores)


def test_the_folder_holds_report_figures_and_model_and_nothing_unfinished(demo):
    out = demo[0]
    names = {path.name for path in out.iterdir()}
    assert {"report.md", "training.png", "attention.png", "saved_model", "encoder"} <= names
    assert [path.name for path in out.parent.iterdir()] == ["demo"]
    text = (out / "report.md").read_text()
    assert "| click | INFNet |" in text and "frozen histories" in text
    assert "AUC of INFNet less that of SharedBottom" in demo[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--out", ROOT / "docs"], "docs` exists and holds no report of the demo"),
    ],
)
def test_a_mistake_ends_with_one_line_that_names_it(tmp_path, arguments, message):
    if "--out" not in arguments:
        arguments = [*arguments, "--out", tmp_path / "demo"]
    with pytest.raises(SystemExit) as ended:
        quickstart(*arguments)
    said = ended.value.code
    assert said.startswith("make demo: ") and message in said and "\n" not in said
    assert not list(tmp_path.iterdir())
