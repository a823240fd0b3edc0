"""The example of two stages as a user runs it, on few simulated rows."""

import json
import subprocess
import sys

import keras
import pytest

from tests.house.source import ROOT

TASKS = {"click", "like", "long_view"}
AT = ["10", "50", "100", "500"]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the example chooses its backend itself"
)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "two_stage.json"
    command = [sys.executable, str(ROOT / "examples" / "two_stage.py"), "--quick", "--out", out]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout, json.loads(out.read_text())


@pytest.mark.parametrize("library", ["tfrs", "keras-rs"])
def test_each_library_retrieves_and_the_saved_model_ranks(example, library):
    printed, report = example
    measured = report[library]
    for recall in ("recall", "recall_ranked", "recall_popular"):
        values = [measured[recall][k] for k in AT]
        assert list(measured[recall]) == AT
        assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1
    # Ranking orders what was retrieved, and adds nothing to it.
    assert measured["recall"]["500"] == measured["recall_ranked"]["500"]
    # Towers that have learned nothing would find 500 of the items at random.
    assert measured["recall"]["500"] > 500 / report["items"]
    assert set(measured["auc"]) == TASKS
    assert 0 < measured["auc"]["click"] < 1
    assert f"| {library} | by the ranker |" in printed


def test_the_report_says_what_was_asked(example):
    report = example[1]
    assert report["requests"] == 60 and 500 < report["items"] <= 800
    assert report["seed"] == 0
    # Impressions don't depend on what was retrieved, so neither do their scores.
    assert report["tfrs"]["auc"]["click"] == pytest.approx(report["keras-rs"]["auc"]["click"])
