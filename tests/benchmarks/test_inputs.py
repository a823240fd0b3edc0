import json
import sys

import numpy as np
import pandas as pd
import pytest

import keras_infnet
from benchmarks import inputs
from benchmarks.protocol.logs import LOGS
from keras_infnet import NumericFeature
from tests.benchmarks.eager import compile_nothing

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("inputs") / "log"
    keras_infnet.datasets.simulate(path, rows=2000, users=100, items=50)
    return path


def test_settings_change_one_kind_of_input(folder):
    log = LOGS["kuairand-cold"]
    schema = log.schema(inputs.open_log("kuairand-cold", folder, log.tasks))
    changed = {name: change(schema) for name, change in inputs.SETTINGS.items()}
    assert changed["all"] == schema and schema.histories
    assert changed["without histories"].histories == ()
    assert changed["without histories"].features == schema.features
    past = [f for f in schema.features if isinstance(f, inputs.PAST)]
    assert past and not set(past) & set(changed["without rates"].features)
    assert len(changed["without rates"].features) == len(schema.features) - len(past)
    numbers = [f for f in changed["numbers as values"].features if isinstance(f, NumericFeature)]
    assert len(numbers) > len(past) and {f.encoding for f in numbers} == {("value",)}
    assert inputs.changing(["without histories"], changed["without histories"]) == ["all"]


def test_a_stopped_command_goes_on_and_differences_are_paired(
    folder, tmp_path, monkeypatch, capsys
):
    compile_nothing(monkeypatch)
    out = tmp_path / "inputs.json"
    argv = f"--log kuairand-cold --data {folder} --out {out} --model FM --batch-size 512".split()
    argv += ["--settings", "all", "without rates"]
    monkeypatch.setattr(sys, "argv", ["inputs", *argv, "--seeds", "1"])
    inputs.main()
    first = json.loads(out.read_text())
    assert [(r["setting"], r["seed"]) for r in first] == [("all", 0), ("without rates", 0)]
    made = []
    record = inputs.record
    monkeypatch.setattr(inputs, "record", lambda *a: made.append(a[1:3]) or record(*a))
    monkeypatch.setattr(sys, "argv", ["inputs", *argv, "--seeds", "2"])
    inputs.main()
    assert made == [("all", 1), ("without rates", 1)]
    table = pd.DataFrame(json.loads(out.read_text())).pivot(
        index="seed", columns="setting", values="auc"
    )
    differences = table["without rates"] - table["all"]
    error = np.std(differences, ddof=1) / np.sqrt(2)
    printed = capsys.readouterr().out.splitlines()[-1]
    assert f"{differences.mean():+.5f} | {error:.5f} |" in printed
