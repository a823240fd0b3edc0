"""Child processes that take run after run; the end of one is a failed run, not of the command."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.protocol.runs import RunConfig

_WORKER = ("-m", "benchmarks.protocol.worker")
# Compiled steps of past runs stay in a process, some 150 MB a run.
_JOBS_A_WORKER = 10


@dataclass(frozen=True)
class Job:
    """A run to train, or one whose test rows are to be predicted."""

    kind: Literal["train", "test"]
    config: RunConfig


class Worker:
    """One child process; its answers go to a queue shared by all, `None` when it has ended."""

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, answers: queue.Queue
    ) -> None:
        self.job: Job | None = None
        self.jobs = 0
        self.ready = False
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        self.reader = threading.Thread(target=self._read, args=(answers,), daemon=True)
        self.reader.start()

    def start(self, job: Job) -> None:
        """Sends a job."""
        self.job = job
        self.jobs += 1
        message = {"kind": job.kind, "config": job.config.to_dict()}
        # A broken pipe: the process has ended, and its reader says so.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _read(self, answers: queue.Queue) -> None:
        with self.process.stdout as lines:
            for line in lines:
                answers.put((self, json.loads(line)))
        self.process.wait()
        answers.put((self, None))


class Pool:
    """Some workers on equal shares of the cores.

    Args:
        workers: Number of processes.
        data: Folder of the log.
        runs: Folder of the runs' folders.
        program: The workers' program, as Python's arguments.
    """

    def __init__(
        self, workers: int, data: Path, runs: Path, program: Sequence[str] = _WORKER
    ) -> None:
        self.data, self.runs, self.program = data, runs, program
        self.answers: queue.Queue = queue.Queue()
        cores = available_cores()
        share = max(1, len(cores) // workers)
        starts = [(i * share) % len(cores) for i in range(workers)]
        self.shares = [cores[start : start + share] for start in starts]
        self.running: dict[int, Worker] = {}

    def work(
        self,
        next_job: Callable[[list[RunConfig]], Job | None],
        done: Callable[[Job, dict[str, Any]], None],
        deadline: float | None = None,
    ) -> None:
        """Does jobs until there is none, or none is begun after the deadline.

        Args:
            next_job: From the configurations in work to the next job, or None.
            done: Gets each job, and `{"seconds"}` or `{"failed": reason}`.
            deadline: On the clock of `time.monotonic`.
        """
        try:
            for place in range(len(self.shares)):
                self._give(place, next_job, deadline)
            while any(worker.job for worker in self.running.values()):
                worker, answer = self.answers.get()
                if answer is None:
                    answer = self._ended(worker)
                worker.ready = True
                if "fatal" in answer:
                    raise ValueError(answer["fatal"])
                if worker.job is None or "ready" in answer:
                    continue
                job, worker.job = worker.job, None
                done(job, answer)
                for place in range(len(self.shares)):
                    self._give(place, next_job, deadline)
        finally:
            for worker in self.running.values():
                worker.stop()
            self.running.clear()

    def _give(self, place: int, next_job: Callable, deadline: float | None) -> None:
        worker = self.running.get(place)
        if (worker and worker.job) or (deadline is not None and time.monotonic() >= deadline):
            return
        job = next_job([w.job.config for w in self.running.values() if w.job])
        if job is None:
            return
        if worker is not None and worker.jobs >= _JOBS_A_WORKER:
            worker.stop()
            worker = None
        if worker is None:
            worker = self.running[place] = self._new(place)
        worker.start(job)

    def _new(self, place: int) -> Worker:
        share = self.shares[place]
        command = [sys.executable, *self.program, str(self.data), str(self.runs)]
        log = self.runs.parent / f"worker-{place}.log"
        return Worker(
            [*command, *map(str, share)],
            environment(len(share), self.runs.parent / "xla_cache"),
            log,
            self.answers,
        )

    def _ended(self, worker: Worker) -> dict[str, Any]:
        """What became of a worker that has ended: a failed run, or an error if it never began."""
        self.running = {place: w for place, w in self.running.items() if w is not worker}
        code = worker.process.returncode
        worker.stop()
        if not worker.ready:
            raise ValueError(f"A worker ended with code {code} before its first run: {worker.log}.")
        if code < 0:
            name = signal.Signals(-code).name
            return {"failed": f"its process was killed by {name}, such as for memory", "ended": 1}
        return {"failed": f"its process ended with code {code}", "ended": 1}


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment(threads: int, cache: Path) -> dict[str, str]:
    """This process's environment with the number of threads.

    `cache` keeps compiled steps: the seeds of a configuration have the same, and compiling takes as
    long as training.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    flags = f"{os.environ.get('TF_XLA_FLAGS', '')} --tf_xla_persistent_cache_directory={cache}"
    limits = dict.fromkeys(names, str(threads))
    return {**os.environ, "TF_XLA_FLAGS": flags.strip(), **limits}
