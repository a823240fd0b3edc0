"""A process that takes jobs as lines of JSON and answers each with a line; see pool.py."""

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main() -> None:
    data, runs, *cores = sys.argv[1:]
    watch_parent()
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if cores and hasattr(os, "sched_setaffinity"):
        # XLA's own threads don't read TensorFlow's limits; they do ask how many cores there are.
        os.sched_setaffinity(0, [int(core) for core in cores])
    # Late: TensorFlow counts the cores when it is imported.
    import benchmarks.protocol.train  # noqa: F401

    answer(answers, {"ready": True})
    for line in sys.stdin:
        answer(answers, work(json.loads(line), Path(data), Path(runs)))


def work(job: dict[str, Any], path: Path, runs: Path) -> dict[str, Any]:
    """Does one job; an error of the run is in its folder, one of the data ends the command."""
    from benchmarks.protocol.data import load_data
    from benchmarks.protocol.runs import RunConfig, described
    from benchmarks.protocol.train import predict_test, release, train_run

    config = RunConfig.from_dict(job["config"])
    start = time.perf_counter()
    try:
        data = load_data(path, config.tasks, config.histories, config.log, config.dims)
        # Else each run's collection of garbage looks through libraries and rows: a tenth of a run.
        gc.freeze()
    except (ValueError, OSError) as error:
        return {"fatal": str(error)}
    try:
        {"train": train_run, "test": predict_test}[job["kind"]](config, data, runs)
    except Exception as error:
        release()
        return {"failed": described(error)["reason"]}
    return {"seconds": time.perf_counter() - start}


def answer(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def watch_parent() -> None:
    """Ends this process soon after its parent has been killed: it would hold memory and cores."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
