import json
import sys

from benchmarks import encoding


def test_each_kind_of_field_is_measured_and_all_together(monkeypatch, tmp_path, capsys):
    out = tmp_path / "new" / "encoding.json"
    monkeypatch.setattr(sys, "argv", ["encoding.py", "--rows", "300", "--out", str(out)])
    encoding.main()
    records = json.loads(out.read_text())
    assert [r["kind"] for r in records] == [*encoding.KINDS, "all"]
    assert records[-1]["fields"] == sum(r["fields"] for r in records[:-1]) == 40
    assert all(r["rows"] == 300 and min(r["fit_s"], r["transform_s"]) > 0 for r in records)
    assert "| all | 40 |" in capsys.readouterr().out
