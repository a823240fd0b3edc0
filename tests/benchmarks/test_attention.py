import json
import sys

import keras
import pytest

from benchmarks import attention
from tests.benchmarks.eager import compile_nothing


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["attention.py", *arguments])
    attention.main()


def test_a_child_compares_models_of_equal_outputs(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    out, backend = tmp_path / "records.json", keras.backend.backend()
    small = ["--lengths", "8", "--steps", "1", "--batch", "4"]
    run(monkeypatch, "--child", "--out", str(out), "--backends", backend, *small)
    records = json.loads(out.read_text())
    assert [(r["length"], r["mode"]) for r in records] == [(8, "train"), (8, "infer")]
    assert all(r["backend"] == backend and r["ratio"] > 0 for r in records)


def test_the_table_has_both_modes():
    records = [
        {"backend": "jax", "length": 64, "mode": mode, "ratio": ratio}
        for mode, ratio in (("train", 3.44), ("infer", 2))
    ]
    assert attention.markdown_table(records).splitlines()[-1] == "| jax | 64 | 3.44 | 2.00 |"


def test_a_length_that_behaviours_do_not_share_is_an_error(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--lengths", "6")
    assert "lengths must be multiples of 4" in capsys.readouterr().err
