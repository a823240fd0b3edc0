import json
import sys

import keras_infnet
from benchmarks import lists
from tests.benchmarks.eager import compile_nothing


def test_ways_are_rows_lists_and_each_loss_with_each_weight(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    out, log = tmp_path / "lists.json", tmp_path / "log"
    keras_infnet.datasets.simulate(log, rows=600, users=60, items=30)
    arguments = f"--data {log} --out {out} --seeds 1 --batch-size 256 --model FM --losses JRC"
    monkeypatch.setattr(sys, "argv", ["lists.py", *arguments.split(), "--weights", "0.5"])
    lists.main()
    records = json.loads(out.read_text())
    assert list(dict.fromkeys(r["way"] for r in records)) == ["rows", "lists", "JRC 0.5"]
    assert {"auc", "gauc_list", "mrr", "ece"} <= records[0].keys()
