import json
import sys

from benchmarks import pipeline

SMALL = "--rows 2000 --users 20 --items 30 --train-rows 512".split()


def test_each_stage_is_measured_in_a_process_of_its_own(monkeypatch, tmp_path, capsys):
    out = tmp_path / "new" / "pipeline.json"
    folder = ["--folder", str(tmp_path / "kept"), "--stages", "simulate", "prepare", "stream"]
    monkeypatch.setattr(sys, "argv", ["pipeline.py", *SMALL, *folder, "--out", str(out)])
    pipeline.main()
    records = json.loads(out.read_text())
    assert [r["stage"] for r in records] == ["simulate", "prepare", "stream"]
    assert [r["rows"] for r in records] == [2000, 2000, 1024]
    assert all(0 < r["peak_gb"] < 10 and r["seconds"] > 0 for r in records)
    assert (tmp_path / "kept" / "prepared" / "manifest.json").exists()
    assert "| stream | 1,024 |" in capsys.readouterr().out
