"""Several processes on one search, by keras-tuner's chief and workers over loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PROGRAM = Path(__file__).with_name("proxy_search.py")


def is_child() -> bool:
    """Whether this process is the chief or a worker."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def run_workers(number: int, folder: Path) -> int:
    """Runs this command as a chief and workers; returns the exit status.

    The chief has the oracle and writes the reports; each worker's output is in a file of the
    folder `{folder}-workers`.
    """
    logs = folder.with_name(f"{folder.name}-workers")
    logs.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    chief = _start("chief", port, None)
    workers = [_start(f"tuner{i}", port, logs / f"worker-{i}.log") for i in range(number)]
    try:
        while any(worker.poll() is None for worker in workers) and chief.poll() is None:
            time.sleep(0.2)
        codes = [worker.poll() for worker in workers]
        code = _wait(chief)
    finally:
        for process in (chief, *workers):
            if process.poll() is None:
                process.terminate()
                process.wait()
    died = [f"worker {i} with code {c}" for i, c in enumerate(codes) if c not in (0, None)]
    if died:
        print(
            f"proxy_search: {', '.join(died)} ended early; see {logs}. The same command runs what "
            "it was at again.",
            file=sys.stderr,
        )
    if code == 0 and not died:
        print(f"The report is {folder / 'report.html'}.")
    return code or bool(died)


def _wait(chief: subprocess.Popen) -> int:
    """The chief's exit status once its workers have gone, for which it looks every 20 seconds."""
    try:
        return chief.wait(timeout=3)
    except subprocess.TimeoutExpired:
        chief.send_signal(signal.SIGINT)
    try:
        return chief.wait(timeout=30)
    except subprocess.TimeoutExpired:
        # A shell's background job ignores SIGINT, and a chief whose worker died waits for ever.
        chief.terminate()
        return chief.wait()


def _start(tuner_id: str, port: int, log: Path | None) -> subprocess.Popen:
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    environment = {**os.environ, **address, "KERASTUNER_TUNER_ID": tuner_id}
    command = [sys.executable, str(_PROGRAM), *sys.argv[1:]]
    if log is None:
        return subprocess.Popen(command, env=environment)
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
