import json
import sys

import keras
import pytest

import keras_infnet
from benchmarks import buckets
from tests.benchmarks.eager import compile_nothing

SMALL = "--models FM --buckets 3 6 --steps 2".split()


def test_cut_batches_are_compared_with_whole_ones(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    monkeypatch.setattr(buckets, "BATCH", 16)
    out, log = tmp_path / "buckets.json", tmp_path / "log"
    keras_infnet.datasets.simulate(log, rows=600, users=60, items=30)
    arguments = [*SMALL, "--data", str(log), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["buckets.py", *arguments])
    buckets.main()
    whole, cut = json.loads(out.read_text())
    assert {r["model"] for r in (whole, cut)} == {"FM"}
    assert whole["backend"] == keras.backend.backend()
    assert (whole["buckets"], whole["relative"]) == ([], 1)
    assert cut["buckets"] == [3, 6] and cut["mean_length"] < whole["mean_length"]
    assert cut["relative"] == pytest.approx(cut["seconds"] / whole["seconds"])
