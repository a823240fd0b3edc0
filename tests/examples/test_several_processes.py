"""The example as a user runs it, small."""

import importlib.util
import signal
import subprocess
import sys

import keras
import pytest

from tests.house.source import ROOT

PATH = ROOT / "examples" / "several_processes.py"


def run(*arguments):
    """Starts the workers from this process: one more takes seconds."""
    backend, handler = keras.backend.backend(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", backend)
        patch.setattr(sys, "argv", [PATH.name, "--backend", backend, *arguments])
        try:
            launcher().main()
        finally:
            signal.signal(signal.SIGTERM, handler)


def launcher():
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_have_the_losses_of_one(capsys):
    size = ("--rows", "400", "--batch-size", "32", "--steps", "3", "--model", "SharedBottom")
    run(*size)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step | one process | 2 processes"
    losses = [[float(part) for part in line.split("|")[1:]] for line in lines[1:4]]
    assert len({one for one, _ in losses}) == 3
    assert all(abs(one - two) <= 1e-5 for one, two in losses)
    assert lines[4].startswith("largest difference ")


def test_a_batch_that_the_processes_can_not_share_out_ends_with_one_line():
    with pytest.raises(SystemExit) as ended:
        run("--processes", "3")
    assert ended.value.code == (
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
