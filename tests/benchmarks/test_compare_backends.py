import json
import sys

import pytest

from benchmarks import compare_backends, models
from benchmarks.compare_backends import Comparison, Steps, compare, markdown_table
from tests.benchmarks.eager import compile_nothing

KEYS = ["model", "batch", "length", "mode", "ratio", "tensorflow_seconds", "jax_seconds"]
SECONDS = {
    "tensorflow": {"train": [0.2, 0.2, 9.0], "infer": [0.1, 0.1, 0.1]},
    "jax": {"train": [0.5, 0.3, 0.1], "infer": [0.2, 0.2, 0.2]},
}


class Standing:
    """Stands for a process: what it was asked, and the seconds that it gives."""

    def __init__(self, backend, asked):
        self.backend, self.asked = backend, asked

    def ask(self, do, **given):
        self.asked.append((self.backend, do, given.get("model", given.get("mode"))))
        return {} if do == "build" else {"seconds": SECONDS[self.backend][given["mode"]]}

    def close(self):
        self.asked.append((self.backend, "close", None))


@pytest.fixture
def asked(monkeypatch):
    found = []
    monkeypatch.setattr(compare_backends, "process_of", lambda backend: Standing(backend, found))
    return found


def test_processes_take_turns_and_ratios_are_of_medians(asked, tmp_path):
    comparison = Comparison(("FM",), (3,), batch=2, rounds=2, steps=4)
    train, infer = compare(comparison, tmp_path / "out.json")
    assert list(train) == KEYS and (train["mode"], infer["mode"]) == ("train", "infer")
    assert train["ratio"] == pytest.approx(0.3 / 0.2) and infer["ratio"] == pytest.approx(2)
    turns = [("tensorflow", "run", "train"), ("jax", "run", "train")]
    turns += [("tensorflow", "run", "infer"), ("jax", "run", "infer")]
    assert asked[2:-2] == 2 * turns
    assert [one[:2] for one in asked[-2:]] == [("tensorflow", "close"), ("jax", "close")]


def test_a_stopped_comparison_goes_on(asked, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    arguments = ["models.py", "--compare-backends", "--lengths", "3", "--out", str(out)]
    for names in (["FM"], ["FM", "DIN"], ["FM", "DIN"]):
        monkeypatch.setattr(sys, "argv", [*arguments, "--models", *names])
        models.main()
    assert [one[2] for one in asked if one[1] == "build"] == ["FM", "FM", "DIN", "DIN"]
    records = json.loads(out.read_text())
    assert [r["model"] for r in records] == ["FM", "FM", "DIN", "DIN"]
    assert "| DIN | 1.50 | 2.00 |" in capsys.readouterr().out


def test_a_model_that_was_not_measured_has_empty_cells():
    same = {"model": "FM", "batch": 2, "mode": "train", "ratio": 1.25}
    lines = markdown_table([{**same, "length": 3}, {**same, "length": 9}]).splitlines()
    assert lines[-1] == "| FM | 1.25 |  | 1.25 |  |"


def test_a_backends_process_builds_a_model_and_times_its_steps(monkeypatch):
    compile_nothing(monkeypatch)
    steps = Steps()
    assert steps.ask("build", model="FM", batch=2, length=3, rows=300) == {}
    for mode in ("train", "infer"):
        seconds = steps.ask("run", mode=mode, steps=3)["seconds"]
        assert len(seconds) == 2 and min(seconds) > 0


def test_both_backends_and_one_can_not_be_asked_for(monkeypatch, capsys):
    arguments = ["models.py", "--compare-backends", "--backend", "jax"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        models.main()
    assert "leave out --backend" in capsys.readouterr().err
