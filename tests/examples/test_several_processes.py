"""The example as a user runs it, small."""

import importlib.util
import subprocess
import sys

import keras
import pytest

from tests.house.source import ROOT

PATH = ROOT / "examples" / "several_processes.py"


def run(*arguments):
    command = [sys.executable, str(PATH), "--backend", keras.backend.backend(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def launcher():
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_have_the_losses_of_one():
    size = ("--rows", "400", "--batch-size", "32", "--steps", "3", "--model", "SharedBottom")
    done = run(*size)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "step | one process | 2 processes"
    losses = [[float(part) for part in line.split("|")[1:]] for line in lines[1:4]]
    assert len({one for one, _ in losses}) == 3
    assert all(abs(one - two) <= 1e-5 for one, two in losses)
    assert lines[4].startswith("largest difference ")


def test_a_batch_that_the_processes_can_not_share_out_ends_with_one_line():
    done = run("--processes", "3")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "several_processes: --processes must be 2 or more, and --batch-size a multiple of it. "
        "Received: 3 and 256"
    )


@pytest.mark.parametrize(("seconds", "code"), [(60.0, 3), (0.0, 0)])
def test_when_one_fails_or_takes_too_long_all_end(seconds, code):
    endless = "import signal; signal.pause()"
    programs = [endless, f"raise SystemExit({code})" if code else endless]
    started = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    assert launcher().wait_for_all(started, seconds) == (1 if code else 0)
    assert all(process.poll() is not None for process in started)


def test_ports_differ():
    assert len(set(launcher().free_ports(20))) == 20
