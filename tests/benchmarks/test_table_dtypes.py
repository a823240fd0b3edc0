import json
import sys

from benchmarks import table_dtypes
from tests.benchmarks.eager import compile_nothing

SMALL = "--rows 600 --models FM --max-test-rows 40".split()


def test_tables_of_each_dtype_answer_the_same_rows(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    # An export takes seconds.
    monkeypatch.setattr(table_dtypes, "DTYPES", ("float32", "int8"))
    out = tmp_path / "table_dtypes.json"
    monkeypatch.setattr(sys, "argv", ["table_dtypes.py", *SMALL, "--out", str(out)])
    table_dtypes.main()
    records = json.loads(out.read_text())
    cells = [(r["table_dtype"], r["task"]) for r in records]
    tasks = ("click", "like", "long_view")
    assert cells == [(dtype, task) for dtype in table_dtypes.DTYPES for task in tasks]
    exact, stored = (r for r in records if r["task"] == "click")
    assert exact["auc_lost"] == exact["largest_difference"] == 0
    assert 0 < stored["largest_difference"] < 1e-2
    assert stored["variables_bytes"] < exact["variables_bytes"] and stored["test_rows"] == 40
