import json
import sys

import pytest

from benchmarks import balances
from tests.benchmarks.eager import compile_nothing

pytestmark = pytest.mark.one_backend
SMALL = "--rows 300 --length 2 --batch 8 --rounds 1 --steps 2 --models SharedBottom".split()


def test_each_balance_has_a_ratio_to_the_plain_sum(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    out = tmp_path / "balances.json"
    arguments = [*SMALL, "--balances", "dwa", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["balances.py", *arguments])
    balances.main()
    records = json.loads(out.read_text())
    assert [r["balance"] for r in records] == [None, "dwa"]
    assert records[0]["ratio"] == 1 and records[0]["tasks"] == 3
    assert all(r["ratio"] == r["seconds"] / records[0]["seconds"] for r in records)
    assert "| SharedBottom |" in balances.markdown_table(records)
