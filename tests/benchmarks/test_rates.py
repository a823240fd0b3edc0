import json
import sys

from benchmarks import rates


def test_twenty_rates_are_timed(tmp_path, monkeypatch, capsys):
    kinds = rates.features()
    assert len(kinds) == 20
    assert sum(f.window is not None for f in kinds) == 6
    assert sum(len(f.keys) == 2 for f in kinds) == 4
    assert sum(f.delay is not None for f in kinds) == 2
    out = tmp_path / "rates.json"
    monkeypatch.setattr(sys, "argv", ["rates.py", "--rows", "300", "--out", str(out)])
    rates.main()
    records = json.loads(out.read_text())
    steps = ["the log", "past rows", "values of all rows", "state", "update by one more day"]
    assert [record["step"] for record in records] == steps
    assert "| values of all rows |" in capsys.readouterr().out
