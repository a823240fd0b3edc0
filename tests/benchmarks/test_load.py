"""Ranking under load: what is sent, what is counted, and one short run."""

import json
import re
import sys
import time

import numpy as np
import pytest

from benchmarks import load
from keras_infnet.serving import Answer


def request(key, value):
    expected = {"full": value, "newest 2": value + 1, "state": value + 2}
    outputs = {used: {"click": np.full(3, x)} for used, x in expected.items()}
    return load.Request(key, {}, {}, outputs)


class Ranker:
    """Answers by what the test says, after some time."""

    def __init__(self, answer):
        self.answer = answer

    def rank(self, key, user, candidates):
        time.sleep(0.01)
        return self.answer(key)


def test_each_answer_is_compared_with_what_it_says_it_used():
    def answer(key):
        if key == 2:
            raise TimeoutError
        used = "full" if key == 0 else "state"
        return Answer({"click": np.zeros(3) + (0 if key == 0 else 12.00002)}, used, 0.01)

    requests = [request(key, 10.0 * key) for key in (0, 0, 1, 1, 2, 2)]
    asked = load.send(Ranker(answer), requests, rate=200, seconds=0.5, new_events=0.5)
    assert len(asked) == 100 and min(one.seconds for one in asked) >= 0.01
    by = {used: {one.right for one in asked if one.used == used} for used in ("full", "state")}
    assert by == {"full": {True}, "state": {False}}
    record = load.record_of(asked, newest=2)
    assert record["requests"] == 100 and record["newest"] == 0
    assert record["full"] + record["state"] + record["shed"] == pytest.approx(1)
    assert record["wrong"] == round(100 * record["state"]) > 0


def test_latencies_are_of_answers_alone():
    asked = [load.Asked(0.001 * i, "full", True) for i in range(101)]
    asked += [load.Asked(9.0, "none", True)] * 101
    record = load.record_of(asked, newest=2)
    assert record["p50_ms"] == pytest.approx(50) and record["p99_ms"] == pytest.approx(99)
    assert record["shed"] == 0.5 and record["wrong"] == 0
    none = load.record_of(asked[101:], newest=2)
    assert none["p50_ms"] is None and none["shed"] == 1


def test_a_short_run_gives_a_record_for_each_load_and_no_wrong_answer(tmp_path, monkeypatch):
    from tests.serving.prediction_server import serving

    class InThisProcess:
        """The server without the start of another process."""

        def __init__(self, path, workers, queue):
            self._serving = serving(path, workers=workers, queue=queue)

        def __enter__(self):
            return self._serving.__enter__()["grpc"]

        def __exit__(self, *error):
            return self._serving.__exit__(*error)

    out = tmp_path / "new" / "load.json"
    arguments = "--model SharedBottom --length 6 --candidates 5 --users 2 --newest 2 --rows 300"
    arguments += f" --loads 0.2 3 --seconds 0.5 --deadline 0.5 --out {out}"
    monkeypatch.setattr(sys, "argv", ["load.py", *arguments.split()])
    monkeypatch.setattr(load, "server", InThisProcess)
    load.main()
    records = json.loads(out.read_text())
    assert [record["load"] for record in records] == [0.2, 3]
    for record in records:
        shares = [record[name] for name in ("full", "newest", "state", "shed")]
        assert sum(shares) == pytest.approx(1) and record["wrong"] == 0
        assert record["deadline_s"] == 0.5 and record["capacity"] > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--loads", "0"], "loads and length, candidates, users, .* must be above 0"),
        (["--model", "INFNt"], "No model `INFNt`. Did you mean `INFNet`?"),
    ],
)
def test_arguments_out_of_range_are_an_error(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["load.py", *arguments])
    with pytest.raises(SystemExit):
        load.parse_arguments()
    assert re.search(message, capsys.readouterr().err)
