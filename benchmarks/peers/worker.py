"""Processes of libraries: one each, kept alive, told by a pipe what to do.

A question is a line of JSON, `{"do": "train", "steps": 5}`, and so is its answer.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.adapter import Adapter
from benchmarks.peers.work import Work

ROOT = Path(__file__).parents[2]
_THREADS = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")


class Failed(Exception):
    """What a library could not do, in its own words."""


class Worker:
    """Does with an adapter what it is asked to, in this process.

    Args:
        adapter: The library.
        clock: Gives seconds since the process began. Defaults to its seconds of CPU: on one core
            they are what a clock on the wall shows of a quiet machine, and pass by what others do.
    """

    def __init__(self, adapter: Adapter, clock: Callable[[], float] = time.process_time) -> None:
        self.adapter, self.clock = adapter, clock

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The answer, a dict.

        - `build` (a work's arguments): `parameters` and `version`.
        - `train`, `forward`, `rank` (`steps`): `seconds` of one.
        - `learn` (`log`, a work's arguments): `first_step`, seconds from the start of the process
          to its end, `peak_gb` and `auc`.
        - `drop`: nothing.
        """
        if do == "build":
            parameters = self.adapter.build(Work(**given))
            return {"parameters": parameters, "version": self.adapter.version}
        if do == "learn":
            return self._learn(Path(given.pop("log")), Work(**given))
        if do == "drop":
            self.adapter.drop()
            return {}
        steps = given["steps"]
        start = self.clock()
        getattr(self.adapter, do)(steps)
        return {"seconds": (self.clock() - start) / steps}

    def _learn(self, log: Path, work: Work) -> dict[str, Any]:
        stepped: list[float] = []
        auc = self.adapter.learn(log, work, lambda: stepped.append(self.clock()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"first_step": stepped[0], "peak_gb": peak, "auc": dict(auc)}

    def close(self) -> None:
        """Nothing is open."""


class WorkerProcess:
    """A `Worker` in a process of its own, with one thread on one core.

    Args:
        library: The library.
        python: The interpreter where it is installed.
        home: Folder that is the process's home, with its caches. Defaults to the user's.
    """

    def __init__(self, library: str, python: Path, home: Path | None = None) -> None:
        self._library, self._errors = library, tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.peers.worker", library],
            env=_environment(home),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """As `Worker.ask`.

        Raises:
            Failed: The library raised an error, or its process ended.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise Failed(f"{self._library}: its process ended ({code}): {self._last_error()}")
        found = json.loads(answer)
        if "error" in found:
            raise Failed(f"{self._library}: {found['error']}")
        return found

    def close(self) -> None:
        """Ends the process, which gives all memory back."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


def _environment(home: Path | None) -> Mapping[str, str]:
    found = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    found |= {f"{name}_THREADS": "1" for name in _THREADS}
    found.setdefault("KERAS_BACKEND", "tensorflow")
    found.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if home is not None:
        found |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    return found


def main(arguments: Sequence[str]) -> None:
    """Answers the questions of standard input until it ends."""
    from benchmarks.peers.adapters import ADAPTERS

    # What libraries print must not come between answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    worker = Worker(ADAPTERS[arguments[0]]())
    for line in sys.stdin:
        try:
            answer = worker.ask(**json.loads(line))
        # Whatever a library raises is a row of the table, and the next question may do better.
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
