import json
import sys

import pytest

from benchmarks import appending

pytestmark = pytest.mark.one_backend


def test_each_day_is_added_to_those_before(monkeypatch, tmp_path, capsys):
    def in_process(module, arguments):
        assert module == "benchmarks.appending"
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["appending.py", *map(str, arguments)])
            return json.dumps(appending.append(appending.parse_arguments()))

    monkeypatch.setattr(appending, "run_child", in_process)
    out = tmp_path / "appending.json"
    arguments = f"--rows 300 --days 2 --partitions 1 --folder {tmp_path} --out {out}".split()
    monkeypatch.setattr(sys, "argv", ["appending.py", *arguments])
    appending.main()
    records = json.loads(out.read_text())
    assert [(r["day"], r["rows_before"]) for r in records] == [(1, 0), (2, 300)]
    assert all(r["cpu_seconds"] > 0 and 0 < r["peak_gb"] < 20 for r in records)
    manifest = json.loads((tmp_path / "prepared" / "manifest.json").read_text())
    assert "day2" in json.dumps(manifest)
    assert "| 2 | 300 |" in capsys.readouterr().out
