"""Seconds of a training step with each balance between tasks, and their ratio to the plain sum.

All steps alternate in one process: a model for each balance, on the same batches of a simulated
log with three tasks and full histories.

    python -m benchmarks.balances --models INFNet SharedBottom --out balances.json
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

import keras_infnet
from benchmarks.measuring import median_step_seconds, write_records
from benchmarks.model_speed import make_batches, simulated_log

BALANCES = ("uncertainty", "dwa", "gradnorm", "pcgrad", "cagrad", "famo")


def main() -> None:
    options = parse_arguments()
    log, schema = simulated_log(options.rows, users=1000, items=7000)
    schema, batches = make_batches(log, schema, options.length, options.batch)
    records = [
        record for name in options.models for record in measure(name, schema, batches, options)
    ]
    print(markdown_table(records))
    if options.out:
        write_records(records, options.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        nargs="+",
        default=["INFNet", "SharedBottom"],
        choices=keras_infnet.models.MODELS,
    )
    parser.add_argument("--balances", nargs="+", default=BALANCES, choices=BALANCES)
    parser.add_argument("--rows", type=int, default=20_000, help="rows to simulate")
    parser.add_argument("--length", type=int, default=50, help="events of each history")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all balances")
    parser.add_argument("--steps", type=int, default=6, help="steps of a balance in a round")
    parser.add_argument("--out", type=Path, help="JSON file for the seconds")
    return parser.parse_args()


def measure(name: str, schema: Any, batches: list, options: argparse.Namespace) -> list[dict]:
    """A record for the plain sum and for each balance of a model."""
    models = {}
    for balance in (None, *options.balances):
        models[balance] = keras_infnet.models.MODELS[name](schema)
        models[balance].compile("adam", jit_compile=True, balance=balance, weighted_metrics=[])
        models[balance].train_on_batch(*batches[0])
        print(f"{name}, {balance or 'plain sum'}: compiled", flush=True)
    seconds = median_step_seconds(models, batches, "train", options.rounds, options.steps)
    same = {"model": name, "backend": keras.backend.backend()}
    same |= {"batch": options.batch, "length": options.length, "tasks": len(schema.tasks)}
    return [
        {**same, "balance": balance, "seconds": found, "ratio": found / seconds[None]}
        for balance, found in seconds.items()
    ]


def markdown_table(records: list[dict[str, Any]]) -> str:
    lines = ["| model | backend | balance | step (ms) | ratio |", "|---|---|---|---|---|"]
    for r in records:
        names = f"{r['model']} | {r['backend']} | {r['balance'] or 'plain sum'}"
        lines.append(f"| {names} | {1e3 * r['seconds']:.1f} | {r['ratio']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
