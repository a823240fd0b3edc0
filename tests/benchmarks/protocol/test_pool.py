import time
from pathlib import Path

import pytest

from benchmarks.protocol.pool import Job, Pool
from tests.benchmarks.protocol.cases import make_plan

# Does as the job's model says, and answers as the true worker does.
WORKER = """
import json, os, signal, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    rate = job["config"]["learning_rate"]
    if rate == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    if rate == 8:
        sys.exit(3)
    answer = {"fatal": "no rows"} if rate == 7 else {"seconds": rate}
    print(json.dumps(answer), flush=True)
"""
RUN = make_plan().trial_runs("SharedBottom", "exposures")[0]


def run_of(rate):
    return RUN.from_dict({**RUN.to_dict(), "learning_rate": rate})


@pytest.fixture
def pool(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    (tmp_path / "runs").mkdir()
    return Pool(2, tmp_path / "data", tmp_path / "runs", [str(script)])


def work(pool, rates):
    """The answers by learning rate, and how many jobs were in work at once."""
    waiting, answers, busy = [Job("train", run_of(rate)) for rate in rates], {}, []

    def next_job(in_work):
        busy.append(len(in_work))
        return waiting.pop(0) if waiting else None

    def done(job, answer):
        answers[job.config.learning_rate] = answer

    pool.work(next_job, done)
    return answers, max(busy)


def test_workers_share_the_jobs(pool):
    answers, busy = work(pool, [1, 2, 3, 4, 5])
    assert answers == {rate: {"seconds": rate} for rate in (1, 2, 3, 4, 5)}
    assert busy == 1
    assert not pool.running


def test_a_killed_worker_fails_its_run_and_the_others_go_on(pool):
    answers, _ = work(pool, [9, 1, 8, 2, 9, 3])
    assert "killed by SIGKILL, such as for memory" in answers[9]["failed"]
    assert answers[8]["failed"] == "its process ended with code 3"
    assert [answers[rate]["seconds"] for rate in (1, 2, 3)] == [1, 2, 3]


def test_bad_data_end_the_command(pool):
    with pytest.raises(ValueError, match="no rows"):
        work(pool, [7, 1])


def test_nothing_is_begun_after_the_deadline(pool):
    waiting = [Job("train", run_of(1))]
    pool.work(lambda busy: waiting.pop(), lambda job, answer: None, time.monotonic() - 1)
    assert len(waiting) == 1


def test_a_worker_that_does_not_begin_is_an_error_that_names_its_log(pool):
    Path(pool.program[0]).write_text("import sys; sys.exit('no module')")
    with pytest.raises(ValueError, match="ended with code 1 before its first run: .*worker-"):
        work(pool, [1])
    assert "no module" in (pool.runs.parent / "worker-0.log").read_text()


def test_the_cores_are_shared_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.protocol.pool.available_cores", lambda: [0, 1, 4, 5])
    assert Pool(2, tmp_path, tmp_path).shares == [[0, 1], [4, 5]]
    assert Pool(3, tmp_path, tmp_path).shares == [[0], [1], [4]]
    assert len(Pool(6, tmp_path, tmp_path).shares) == 6


def test_a_worker_is_replaced_after_some_jobs(pool, monkeypatch):
    monkeypatch.setattr("benchmarks.protocol.pool._JOBS_A_WORKER", 2)
    begun = []
    new = pool._new
    monkeypatch.setattr(pool, "_new", lambda place: begun.append(place) or new(place))
    answers, _ = work(pool, [1, 2, 3, 4, 5, 6])
    assert answers == {rate: {"seconds": rate} for rate in (1, 2, 3, 4, 5, 6)}
    assert len(begun) > 2 and not pool.running
