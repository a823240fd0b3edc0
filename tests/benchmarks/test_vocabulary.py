import json
import sys

import keras
import pytest

from benchmarks import vocabulary

KEYS = {"backend", "optimizer", "rows", "update", "ids", "seconds"}


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vocabulary.py", *arguments])
    vocabulary.main()


def test_a_child_writes_a_record_for_each_size_update_and_choice_of_ids(monkeypatch, tmp_path):
    out, backend = tmp_path / "records.json", keras.backend.backend()
    arguments = ["--child", "--out", str(out), "--backends", backend, "--optimizers", "adam"]
    run(monkeypatch, *arguments, "--rows", "10", "30", "--steps", "1", "--batch", "2")
    records = json.loads(out.read_text())
    assert all(set(r) == KEYS and r["backend"] == backend and r["seconds"] > 0 for r in records)
    cells = [(r["optimizer"], r["update"], r["rows"], r["ids"]) for r in records]
    assert sorted(cells) == [
        ("adam", update, rows, ids)
        for update in ("dense", "row-wise")
        for rows in (10, 30)
        for ids in ("same", "uniform")
    ]


def test_the_table_has_a_column_for_each_size():
    of_all = {"backend": "jax", "optimizer": "adam", "update": "dense", "ids": "same"}
    records = [{**of_all, "rows": 10, "seconds": 0.5}, {**of_all, "rows": 2000, "seconds": 0.0123}]
    lines = vocabulary.markdown_table(records).splitlines()
    assert lines[2] == "| backend | optimizer | update | ids | 10 | 2,000 |"
    assert lines[-1] == "| jax | adam | dense | same | 500.0 | 12.3 |"


def test_zero_rows_are_an_error(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--rows", "0")
    assert "rows, steps and batch must be 1 or more" in capsys.readouterr().err
