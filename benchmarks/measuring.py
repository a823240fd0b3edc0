"""Measuring: medians of alternating steps, processes of their own, records as JSON."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_records(records: list[dict[str, Any]], out: Path) -> None:
    """Writes the whole file under a temporary name and renames it; makes its folder if need be."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(out.suffix + ".part")
    partial.write_text(json.dumps(records, indent=1) + "\n")
    partial.replace(out)


def run_child(benchmark: str, arguments: Sequence[object], backend: str | None = None) -> str:
    """What a benchmark prints in a process of its own, which gives all memory back.

    Args:
        benchmark: Its module, such as `benchmarks.vocabulary`.
        arguments: Of its command line.
        backend: Keras's backend in the process. Defaults to that of this one.
    """
    command = [sys.executable, "-m", benchmark, *map(str, arguments)]
    environment = {**os.environ, **({"KERAS_BACKEND": backend} if backend else {})}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    child = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return child.stdout


def median_step_seconds(
    models: Mapping[Any, Any], batches: Sequence[Any], mode: str, rounds: int, steps: int = 6
) -> dict[Any, float]:
    """Median seconds of a step of each model.

    Args:
        models: Compiled models, already called once with each kind of batch.
        batches: `(x, y, sample_weight)`.
        mode: `"train"` or `"inference"`.
        rounds: Rounds over all models, so that what else the machine does hits them alike.
        steps: Steps of a model in a round; the first is not counted.
    """
    seconds: dict[Any, list[float]] = {key: [] for key in models}
    for _ in range(rounds):
        for key, model in models.items():
            for step in range(steps):
                x, *rest = batches[step % len(batches)]
                start = time.perf_counter()
                if mode == "train":
                    model.train_on_batch(x, *rest)
                else:
                    model.predict_on_batch(x)
                # The first step after another model's finds the caches cold.
                if step:
                    seconds[key].append(time.perf_counter() - start)
    return {key: statistics.median(found) for key, found in seconds.items()}
