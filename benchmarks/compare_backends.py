"""Seconds of a step on JAX over those on TensorFlow: two processes that take turns."""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.asked_process import AskedProcess, answer_questions
from benchmarks.measuring import write_records

BACKENDS = ("tensorflow", "jax")
MODES = ("train", "infer")


class Asked(Protocol):
    """A process of a backend, or what stands for one."""

    def ask(self, do: str, **given: Any) -> dict[str, Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how often; models have the library's defaults, steps are compiled."""

    models: tuple[str, ...]
    lengths: tuple[int, ...]
    batch: int
    rounds: int
    steps: int
    rows: int = 20_000

    def records(self, known: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """The records of each model and length that has none; a process a backend lives on."""
        done = {(r["model"], r["batch"], r["length"]) for r in known}
        left = [(m, n) for n in self.lengths for m in self.models if (m, self.batch, n) not in done]
        if not left:
            return
        processes = {backend: process_of(backend) for backend in BACKENDS}
        try:
            for model, length in left:
                yield self._compared(processes, model, length)
        finally:
            for process in processes.values():
                process.close()

    def _compared(
        self, processes: dict[str, Asked], model: str, length: int
    ) -> list[dict[str, Any]]:
        what = {"model": model, "batch": self.batch, "length": length, "rows": self.rows}
        for process in processes.values():
            process.ask("build", **what)
        seconds: dict[str, dict[str, list[float]]] = {
            mode: {backend: [] for backend in BACKENDS} for mode in MODES
        }
        for _ in range(self.rounds):
            for mode in MODES:
                for backend, process in processes.items():
                    answer = process.ask("run", mode=mode, steps=self.steps)
                    seconds[mode][backend] += answer["seconds"]
        found = []
        for mode in MODES:
            on = {backend: statistics.median(taken) for backend, taken in seconds[mode].items()}
            same = {"model": model, "batch": self.batch, "length": length, "mode": mode}
            of = {f"{backend}_seconds": median for backend, median in on.items()}
            found.append({**same, "ratio": on["jax"] / on["tensorflow"], **of})
        return found


def process_of(backend: str) -> Asked:
    """A process with that backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    program = [sys.executable, "-m", "benchmarks.compare_backends"]
    return AskedProcess(backend, program, environment)


def compare(comparison: Comparison, out: Path | None) -> list[dict[str, Any]]:
    """All records, those of `out` included, which is written after each model."""
    records = json.loads(out.read_text()) if out is not None and out.exists() else []
    for found in comparison.records(records):
        records = [*records, *found]
        said = ", ".join(f"{r['mode']} {r['ratio']:.2f}" for r in found)
        print(f"{found[0]['model']}, {found[0]['length']} events: {said}", flush=True)
        if out is not None:
            write_records(records, out)
    return records


def markdown_table(records: list[dict[str, Any]]) -> str:
    """JAX's seconds over TensorFlow's, a row a model."""
    keys = list(dict.fromkeys((r["batch"], r["length"]) for r in records))
    heads = [f"{mode}, batch {batch:,}, {n:,} events" for batch, n in keys for mode in MODES]
    of = {(r["model"], r["batch"], r["length"], r["mode"]): r["ratio"] for r in records}
    lines = [f"| model | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for model in dict.fromkeys(r["model"] for r in records):
        found = [of.get((model, *key, mode)) for key in keys for mode in MODES]
        cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in found]
        lines.append(f"| {' | '.join((model, *cells))} |")
    return "\n".join(lines)


@dataclass
class Steps:
    """Answers in the process of a backend: `build` a model, `run` steps of it."""

    logs: dict[int, Any] = field(default_factory=dict)
    model: Any = None
    batches: Any = None

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """`{}`, or `{"seconds": [...]}`, one a step but for the first."""
        if do == "build":
            self._build(**given)
            return {}
        return {"seconds": self._seconds(**given)}

    def _build(self, model: str, batch: int, length: int, rows: int) -> None:
        import keras

        from benchmarks.model_speed import TASKS, make_batches, simulated_log
        from benchmarks.protocol.space import Trial, arguments_of, build_model

        self.model = None
        keras.backend.clear_session()
        if rows not in self.logs:
            self.logs[rows] = simulated_log(rows, users=1_000, items=7_000)
        schema, self.batches = make_batches(*self.logs[rows], length, batch)
        self.model = build_model(model, schema, arguments_of(model, Trial(), len(TASKS)), members=1)
        self.model.compile("adam", jit_compile=True, weighted_metrics=[])
        for mode in MODES:
            self._step(mode, 0)

    def _seconds(self, mode: str, steps: int) -> list[float]:
        taken = []
        for step in range(steps):
            start = time.perf_counter()
            self._step(mode, step)
            taken.append(time.perf_counter() - start)
        # After the other process's turn the caches are cold.
        return taken[1:]

    def _step(self, mode: str, step: int) -> None:
        x, *rest = self.batches[step % len(self.batches)]
        if mode == "train":
            self.model.train_on_batch(x, *rest)
        else:
            self.model.predict_on_batch(x)


if __name__ == "__main__":
    answer_questions(lambda: Steps().ask)
