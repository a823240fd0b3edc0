import json
import sys

import numpy as np
import pytest

from benchmarks import serving

KEYS = [
    "model",
    "signature",
    "candidates",
    "length",
    "table_dtype",
    "p50_ms",
    "p99_ms",
    "repeats",
    "candidates_per_second",
]
SMALL = "--models SharedBottom --candidates 1 3 --lengths 4 --table-dtypes int8 --rows 300".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which requests of 3 candidates fail: its records, requests and closing message."""
    out, asked = tmp_path_factory.mktemp("serving") / "new" / "records.json", []
    run_c_api = serving.keras_infnet.serving.run_c_api

    def run_or_fail(path, signatures, requests, **threads):
        if signatures == ["user_state"]:
            return run_c_api(path, signatures, requests)
        asked.append((signatures, requests, threads))
        if len(requests[1]["video_id"]) == 3:
            raise MemoryError
        return run_c_api(path, signatures, requests, **threads)

    arguments = [*SMALL, "--repeat", "4", "--threads", "1", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.keras_infnet.serving, "run_c_api", run_or_fail)
        patch.setattr(sys, "argv", ["serving.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            serving.main()
    return json.loads(out.read_text()), asked, str(stopped.value)


def test_there_is_a_record_for_each_signature(run):
    records, _, _ = run
    assert [r["signature"] for r in records] == ["pairwise", "rank", "user_state", "score"]
    assert all(list(record) == KEYS for record in records[:3])
    assert list(records[3]) == [*KEYS, "state_dtype", "state_bytes"]
    assert records[3]["state_dtype"] == "float32" and records[3]["state_bytes"] > 100
    cells = {(r["model"], r["candidates"], r["length"]) for r in records}
    assert cells == {("SharedBottom", 1, 4)}
    for record in records:
        assert record["table_dtype"] == "int8" and 3 <= record["repeats"] <= 4
        assert 0 < record["p50_ms"] <= record["p99_ms"]


def test_what_fails_is_said_and_does_not_stop_the_rest(run):
    _, _, message = run
    assert "model=SharedBottom length=4 table_dtype=int8 candidates=3: out of memory" in message


def test_the_signatures_are_asked_for_the_same_pairs_in_turn(run):
    _, asked, _ = run
    signatures, (pairs, rank, user, score), threads = asked[2][0], asked[2][1][:4], asked[2][2]
    assert signatures[:4] == ["serving_default", "rank", "user_state", "score"]
    assert signatures[4:] == ["serving_default", "rank", "score", "user_state"]
    assert {*user} | {*score} == {*rank} | {n for n in score if n.startswith("user_state_")}
    assert threads == {"intra_threads": 1, "inter_threads": 1}
    assert {len(values) for values in pairs.values()} == {3}
    assert rank["exposures_video_id"].shape == rank["exposures_age_seconds"].shape == (1, 4)
    assert rank["video_id"].shape == (3,) and rank["user_id"].shape == (1,)
    for name, values in pairs.items():
        np.testing.assert_array_equal(values, np.broadcast_to(rank[name], values.shape))


def test_requests_alternate_by_their_numbers():
    assert serving.alternate({"a": 1, "b": 3}) == ["b", "a", "b", "b"]
    assert serving.alternate({"a": 2, "b": 2}) == ["a", "b", "a", "b"]


def test_slow_requests_are_sent_three_times_and_quick_ones_as_often_as_asked(monkeypatch):
    asked = []

    def clock(path, signatures, requests, **threads):
        asked.append(signatures)
        return [], np.array([[10.0 if name == "serving_default" else 0.2] for name in signatures])

    monkeypatch.setattr(serving.keras_infnet.serving, "run_c_api", clock)
    settings = dict.fromkeys(("models", "candidates", "lengths", "table_dtypes"), ())
    measurement = serving.Measurement(
        **settings, state_dtype="float32", repeat=50, seconds=2, threads=0, memory_gb=1, rows=1
    )
    seconds = serving._seconds(measurement, None, dict.fromkeys(serving.SIGNATURES, {}))
    expected = {"pairwise": 3, "rank": 10, "user_state": 10, "score": 10}
    assert {name: len(taken) for name, taken in seconds.items()} == expected
    assert (seconds["pairwise"] == 10).all() and (seconds["rank"] == 0.2).all()


def test_the_table_has_the_ratio():
    same = {"model": "INFNet", "candidates": 1000, "length": 1000, "table_dtype": "int8"}
    speeds = [(150, 200.04, 3, 6666), (20, 30, 100, 49_999.6)]
    speeds += [(4, 5, 100, 1), (8, 9, 100, 1)]
    names = ("p50_ms", "p99_ms", "repeats", "candidates_per_second")
    records = [{**same, **dict(zip(names, speed, strict=True))} for speed in speeds]
    records[-1]["state_bytes"] = 165_000
    expected = (
        "| INFNet | 1,000 | int8 | 1,000 | 150.0 | 200.0 | 20.0 | 30.0 | 3/100 | 7.5 | 50,000 "
        "| 4.0 | 5.0 | 8.0 | 9.0 | 2.5 | 165,000 |"
    )
    assert serving.markdown_table(records, 2).splitlines()[-1] == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--candidates", "0"], "candidates and lengths must be 1 or more"),
        (["--repeat", "2"], "repeat must be 3 or more"),
        (["--models", "INFNt"], "No model `INFNt`. Did you mean `INFNet`?"),
    ],
)
def test_arguments_out_of_range_are_an_error(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["serving.py", *arguments])
    with pytest.raises(SystemExit):
        serving.main()
    assert message in capsys.readouterr().err
