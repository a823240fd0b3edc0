import json

import pytest

from keras_infnet._base.locks import locked
from keras_infnet.daily.__main__ import main
from tests.daily.small_job import day_frame, day_name, schema, write_day, write_days

pytestmark = pytest.mark.one_backend
FIRST, SECOND, THIRD = map(day_name, range(3))


@pytest.fixture
def ask(tmp_path, untrained, capsys):
    """Runs the command; its exit code and the events that it wrote."""
    write_days(tmp_path, 2)
    (tmp_path / "schema.json").write_text(schema().to_json())
    config = {
        "folder": "ranker", "schema": "schema.json", "log": "logs/{day}",
        "model": {"name": "FM", "arguments": {"dim": 4}}, "gate": {"least": -1},
        "calibration": {"method": "none"}, "training": {"jit_compile": False},
    }  # fmt: skip
    (tmp_path / "daily.json").write_text(json.dumps(config))

    def asked(*arguments, file="daily.json"):
        code = main([*arguments, "--config", str(tmp_path / file)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    asked.folder = tmp_path
    return asked


def test_a_scheduler_reads_exit_codes_and_json_lines(ask):
    code, events = ask("backfill", "--from", FIRST, "--to", SECOND)
    assert code == 0
    assert [e["event"] for e in events if e["event"] == "published"] == ["published"] * 2
    assert all({"time", "event", "day"} <= {*event} for event in events)
    code, events = ask("run", "--day", SECOND)
    assert (code, events[-1]["event"], events[-1]["version"]) == (0, "unchanged", 2)
    code, events = ask("rollback", "--to", "1")
    assert code == 0 and events[-1]["restores"] == 1
    code, (status,) = ask("status")
    assert (code, status["serving"], status["day"]) == (0, 3, FIRST)
    assert [v["version"] for v in status["versions"]] == [1, 2, 3]
    write_day(ask.folder / "logs", THIRD, day_frame(2).assign(click=0))
    code, events = ask("run", "--day", THIRD)
    assert (code, events[-1]["stage"], events[-1]["code"]) == (3, "check", 3)
    assert "all 400 observed labels are 0" in events[-1]["error"]
    with locked(ask.folder / "ranker" / "daily.lock", "taken"):
        assert ask("run", "--day", THIRD)[0] == 5


def test_what_is_wrong_with_the_configuration_is_two(ask):
    code, (event,) = ask("status", file="other.json")
    assert code == 2 and "other.json can't be read" in event["error"]
    code, events = ask("run", "--day", "29.11.2026")
    assert code == 2 and "expected one such as '2026-11-29'" in events[-1]["error"]
    (ask.folder / "ranker").mkdir(exist_ok=True)
    (ask.folder / "ranker" / "serving.json").write_text("{")
    code, (event,) = ask("status")
    assert (code, event["stage"]) == (1, "status") and "serving.json, which says" in event["error"]
    with pytest.raises(SystemExit) as caught:
        ask("run")
    assert caught.value.code == 2
