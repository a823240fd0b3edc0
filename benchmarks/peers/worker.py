"""Processes of libraries: one each, asked such things as `{"do": "train", "steps": 5}`."""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.asked_process import ROOT, AskedProcess, answer_questions
from benchmarks.peers.adapter import Adapter
from benchmarks.peers.work import Work

_THREADS = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")


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


class WorkerProcess(AskedProcess):
    """A `Worker` in a process of its own, with one thread on one core.

    Args:
        library: The library.
        python: The interpreter where it is installed.
        home: Folder that is the process's home, with its caches. Defaults to the user's.
    """

    def __init__(self, library: str, python: Path, home: Path | None = None) -> None:
        program = [str(python), "-m", "benchmarks.peers.worker", library]
        super().__init__(library, program, _environment(home))


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

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answer_questions(lambda: Worker(ADAPTERS[arguments[0]]()).ask)


if __name__ == "__main__":
    main(sys.argv[1:])
