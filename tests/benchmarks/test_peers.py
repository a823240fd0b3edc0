import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.asked_process import Failed
from benchmarks.peers import __main__ as command
from benchmarks.peers import install, runner
from benchmarks.peers.adapter import Adapter
from benchmarks.peers.adapters import ADAPTERS, OURS
from benchmarks.peers.runner import Plan, Run
from benchmarks.peers.table import markdown_tables
from benchmarks.peers.work import ITEM, USER_FIELDS, Work, past_items, read_log, write_log
from benchmarks.peers.worker import Worker, WorkerProcess
from tests.benchmarks.eager import compile_nothing

SMALL = {"rows": 300, "length": 3, "batch": 4}


class Clock:
    """Time that passes only where it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


class Sleeper(Adapter):
    """A library that takes a known time for each step, by model."""

    library, models = "sleeper", ("FM", "DIN")

    def __init__(self, clock, seconds, parameters=100):
        self.clock, self.seconds, self.parameters = clock, seconds, parameters
        self.asked = []

    @property
    def version(self):
        return "1.2"

    def build(self, work):
        self.factor = 10 if work.rows > 300 else 1
        if work.model == "DIN":
            raise RuntimeError("no attention | today")
        return self.parameters * self.factor

    def train(self, steps):
        self.asked.append(steps)
        self.clock.now += steps * self.seconds * self.factor

    def forward(self, steps):
        self.clock.now += steps * self.seconds / 4

    def learn(self, log, work, stepped):
        _, train, _ = read_log(log, work.length)
        self.clock.now += self.seconds
        stepped()
        return {"click": float(np.mean(train.labels[:, 0]) >= 0)}

    def drop(self):
        del self.factor


class Stub(Worker):
    """Errors as a process tells them."""

    def ask(self, do, **given):
        try:
            return super().ask(do, **given)
        except RuntimeError as error:
            raise Failed(str(error)) from None


PLAN = Plan(
    works=(
        (Work("FM", **SMALL), ("train", "forward")),
        (Work("FM", **{**SMALL, "rows": 3000}), ("train",)),
        (Work("DIN", **SMALL), ("train",)),
    ),
    log_rows=40,
    log_model="FM",
    rounds=3,
    repeats=2,
)


class Libraries:
    """Ours takes 2 s a step, the other 5 s; ours again takes half, as if it had a cache."""

    def __init__(self, theirs=5.0):
        self.clock, self.homes, self.closed = Clock(), [], 0
        self.adapters = {
            "ours": Sleeper(self.clock, 2.0),
            "theirs": Sleeper(self.clock, theirs, 80),
        }
        self.models = {"ours": ("FM", "DIN"), "theirs": ("FM", "DIN"), "another": ("PLE",)}

    def connect(self, library, home=None):
        self.homes.append((library, home))
        self.adapters[library].seconds /= 1 + (home is not None and self._seen(home))
        start = self.clock()
        worker = Stub(self.adapters[library], lambda: self.clock() - start)
        worker.close = self._closed
        return worker

    def _seen(self, home):
        return [h for _, h in self.homes].count(home) > 1

    def _closed(self):
        self.closed += 1

    def run(self, plan=PLAN, **given):
        run = Run(plan, "ours", self.models, self.connect, clock=self.clock, **given)
        return [record for found in run.records() for record in found]


@pytest.fixture(scope="module")
def records():
    return Libraries().run()


def test_ratios_are_those_of_known_times(records):
    steps = [r for r in records if r.get("unit") == "ms"]
    cells = [(r["model"], r["rows"], r["measure"], r["ours"], r["theirs"]) for r in steps]
    assert cells == [
        ("FM", 300, "train", 2000, 5000),
        ("FM", 300, "forward", 500, 1250),
        ("FM", 3000, "train", 20_000, 50_000),
    ]
    assert [r["ratio"] for r in steps] == pytest.approx([0.4] * 3)
    assert [r["parameters_ours"] for r in steps] == [100, 100, 1000]
    assert [r["parameters_theirs"] for r in steps] == [80, 80, 800]
    assert {r["version"] for r in steps} == {"1.2"}


def test_first_steps_count_from_the_start_of_a_process_and_ours_has_a_home_with_and_without_cache(
    records,
):
    fresh, cached, memory = [r for r in records if r.get("unit") in ("s", "GB")]
    assert fresh["measure"] == "first step, fresh home"
    assert (fresh["theirs"], cached["theirs"]) == (5, 5)
    # 2 s, then 1 s from the cache; the second home is fresh again, at the speed that is left.
    assert (fresh["ours"], cached["ours"]) == ((2 + 1) / 2, (1 + 0.5) / 2)
    assert memory["ratio"] == 1 and memory["auc_theirs"] == {"click": 1}


def test_what_fails_is_told_and_does_not_stop_the_rest(records):
    (failed,) = [r for r in records if "error" in r]
    assert (failed["library"], failed["model"]) == ("theirs", "DIN")
    assert failed["error"] == "no attention | today"
    assert records[-1]["measure"] == "peak memory"


def test_both_take_the_same_steps_in_turn_and_workers_are_closed():
    libraries = Libraries()
    libraries.run(Plan(works=PLAN.works[:1], log_rows=0, rounds=3, seconds=20))
    ours, theirs = (libraries.adapters[name].asked for name in ("ours", "theirs"))
    # Two and one to begin with, then three rounds of what the slower one does in 20 seconds.
    assert ours == theirs == [2, 1, 4, 4, 4]
    assert libraries.homes == [("ours", None), ("theirs", None)] and libraries.closed == 2


def test_a_run_goes_on_after_what_is_measured_and_ends_when_its_time_is_over():
    before = Libraries().run()
    assert [r for r in Libraries().run(done=before) if "error" not in r] == []
    libraries = Libraries()
    run = Run(PLAN, "ours", libraries.models, libraries.connect, until=1, clock=libraries.clock)
    found = [record for part in run.records() for record in part]
    assert [r["measure"] for r in found] == ["train", "forward"] and run.stopped


def test_a_work_larger_than_the_memory_is_not_begun(monkeypatch):
    monkeypatch.setattr(runner, "free_memory", lambda: 2**30 - 1)
    plan = Plan(works=((Work("FM", rows=2**20), ("train",)),), log_rows=0)
    (record,) = Libraries().run(plan)
    assert record["error"] == "1.0 GB of tables, and 1.0 GB are free"


def test_the_tables_have_ratios_parameters_and_reasons(records):
    missing = {"library": "gone", "error": "not installed: No matching distribution found"}
    ratios, parameters, failed = markdown_tables([*records, missing]).split("\n\n")
    lines = ratios.splitlines()
    assert lines[0] == "| ours / theirs | theirs 1.2 |"
    assert (
        lines[2]
        == "| FM, 3 events, 300 rows, batch 4: training step (ms) | 0.40 (2000.0 / 5000.0) |"
    )
    assert lines[-1].startswith("| FM, a CSV file of 40 rows: peak memory (GB) | 1.00 (")
    assert parameters.splitlines()[2] == "| FM, 3 events, 300 rows, batch 4 | 100 | 80 (1.25) |"
    assert failed.splitlines()[2:] == [
        "| theirs | DIN, 3 events, 300 rows, batch 4 | no attention / today |",
        "| gone | all | not installed: No matching distribution found |",
    ]


def test_the_command_writes_records_and_rows_for_what_is_not_installed(
    monkeypatch, tmp_path, capsys
):
    libraries = Libraries()
    libraries.models = {"keras-infnet": ("FM", "DIN"), "fuxictr": ("FM", "DIN")}
    names = dict(zip(libraries.models, ("ours", "theirs"), strict=True))
    adapters = {name: libraries.adapters[old] for name, old in names.items()}
    libraries.adapters = adapters
    reasons = {"keras-rs": "No matching distribution found for keras-rs"}
    monkeypatch.setattr(command, "install", lambda venv, a: reasons.get(a.library))
    monkeypatch.setattr(
        command, "WorkerProcess", lambda name, python, home: libraries.connect(name, home)
    )
    monkeypatch.setattr(command, "QUICK", PLAN)
    out = tmp_path / "new" / "peers.json"
    command.main(["--quick", "--out", str(out), "--only", "fuxictr", "keras-rs"])
    written = json.loads(out.read_text())
    assert [r["ratio"] for r in written if r.get("measure") == "train"] == pytest.approx([0.4] * 2)
    assert all(r["load"] >= 0 for r in written if r["library"] == "fuxictr")
    error = "not installed: No matching distribution found for keras-rs"
    assert {"library": "keras-rs", "error": error} in written
    printed = capsys.readouterr().out
    assert "| keras-rs | all | not installed: No matching distribution found" in printed
    assert command.earlier(out) == [r for r in written if "error" not in r]


def test_an_unknown_library_is_an_error_that_names_all(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "fuxi"])
    assert "invalid choice: 'fuxi' (choose from" in capsys.readouterr().err


def test_what_pip_can_not_install_is_told_in_its_words_and_tried_again(monkeypatch, tmp_path):
    said = ["WARNING: slow", "ERROR: Could not find a version", "ERROR: No matching distribution"]
    asked, codes = [], [1, 0]

    def run(arguments, **given):
        asked.append(arguments)
        code = codes.pop(0) if "pip" in arguments else 0
        return subprocess.CompletedProcess(arguments, code, stderr="\n".join([*said, "notice"]))

    monkeypatch.setattr(install.subprocess, "run", run)
    fuxictr = ADAPTERS["fuxictr"]
    assert install.install(tmp_path, fuxictr) == "No matching distribution"
    assert install.install(tmp_path, fuxictr) is None
    assert install.install(tmp_path, fuxictr) is None
    pips = [arguments for arguments in asked if "pip" in arguments]
    assert len(pips) == 2 and set(fuxictr.requirements) <= set(pips[0])
    assert not any("http" in argument for argument in pips[0])


def test_the_work_is_the_same_for_all():
    work = Work("PLE", rows=1000, length=5, batch=8)
    first, again = work.batches()[0], work.batches()[0]
    np.testing.assert_array_equal(first.ids, again.ids)
    assert first.ids.shape == (8, 47) and first.history.shape == (8, 5)
    assert first.labels.shape == (8, 3) and Work("DIN").tasks == ("click",)
    assert (first.ids < list(work.sizes.values())).all() and first.history.min() >= 2
    assert abs(sum(Work("DIN", rows=100_000).sizes.values()) - 100_000) < 50
    request = work.request()
    assert (request.ids[:, : len(USER_FIELDS)] == request.ids[0, : len(USER_FIELDS)]).all()
    assert (
        len(np.unique(request.ids[:, ITEM])) > 100 and (request.history == request.history[0]).all()
    )


def test_histories_are_the_items_of_earlier_rows():
    users, items = np.array([1, 2, 1, 1, 2, 1]), np.array([10, 20, 30, 40, 50, 60])
    expected = [[0, 0], [0, 0], [0, 10], [10, 30], [0, 20], [30, 40]]
    np.testing.assert_array_equal(past_items(users, items, 2), expected)


def test_a_process_answers_and_tells_errors_and_its_end():
    # Where the tests run, the library is not installed.
    worker = WorkerProcess("torch-rechub", Path(sys.executable))
    for _ in range(2):
        with pytest.raises(
            Failed, match="torch-rechub: ModuleNotFoundError: No module named 'torch"
        ):
            worker.ask("build", model="PLE", **SMALL)
    worker.close()
    worker = WorkerProcess("torch", Path(sys.executable))
    with pytest.raises(Failed, match=r"torch: its process ended \(1\): KeyError: 'torch'"):
        worker.ask("drop")
    worker.close()


def test_our_library_does_the_work(monkeypatch, tmp_path):
    compile_nothing(monkeypatch)
    ours, work = ADAPTERS[OURS](), Work("DIN", **SMALL)
    tables = 32 * sum(work.sizes.values())
    # What reads 47 fields, the candidate, the mean, their number and the weighted sum; the head.
    mlp = (50 * 32 + 1 + 1) * 256 + 257 * 128 + 129 * 64 + 65
    unit = 2 * 32 * 80 + 81 * 40 + 41
    events = 32 * 32 + 11 * 32 * 32
    assert ours.build(work) - tables - mlp - events < 3 * unit
    ours.train(1)
    ours.forward(1)
    ours.drop()
    write_log(tmp_path / "log.csv", 60)
    stepped = []
    auc = ours.learn(tmp_path / "log.csv", Work("FM", **SMALL), lambda: stepped.append(1))
    assert list(auc) == ["click"] and stepped == [1]
