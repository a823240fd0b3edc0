"""The input pipeline alone: preparation, streamed and in-memory rows a second, and peak memory.

    python -m benchmarks.pipeline --rows 1000000 --out pipeline.json

Each stage runs in a process of its own, whose peak memory is its own. More than two million rows
are simulated as several logs, each with users of its own, since the simulator keeps a log in
memory.
"""

import argparse
import itertools
import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measuring import run_child, write_records

BATCH = 512
LOG_ROWS = 2_000_000


def main() -> None:
    """Runs the stages one after the other and prints the table."""
    args = parse_arguments()
    if args.stage:
        print(json.dumps(STAGES[args.stage](args)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        records = [run_stage(stage, args) for stage in args.stages]
    print(f"\n{args.rows:,} rows, seed {args.seed}, batch {BATCH}, {platform.machine()}\n")
    print("| stage | rows | seconds | rows a second | peak memory (GB) |")
    print("|---|---|---|---|---|")
    for r in records:
        numbers = f"{r['rows']:,} | {r['seconds']:.1f} | {r['rows'] / r['seconds']:,.0f}"
        print(f"| {r['stage']} | {numbers} | {r['peak_gb']:.2f} |")
    if args.out:
        write_records(records, args.out)


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run, and the stage where this is a process for one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, help="default: one for each 100 rows")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-rows", type=int, default=200_000, help="rows that are trained on")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folder", type=Path, help="keeps the log and the prepared folder here")
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.users = args.users or max(100, args.rows // 100)
    return args


def run_stage(stage: str, args: argparse.Namespace) -> dict[str, object]:
    """The record of a stage, run in a process of its own."""
    print(f"{stage} ...", flush=True)
    arguments = ["--stage", stage, "--folder", args.folder]
    for name in ("rows", "users", "items", "seed", "train_rows"):
        arguments += [f"--{name.replace('_', '-')}", getattr(args, name)]
    printed = run_child("benchmarks.pipeline", arguments)
    return {"stage": stage, **json.loads(printed.splitlines()[-1])}


def record(rows: int, start: float) -> dict[str, object]:
    """Rows, seconds since `start` and this process's peak memory."""
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rows": rows, "seconds": seconds, "peak_gb": peak}


def simulate(args: argparse.Namespace) -> dict[str, object]:
    """Writes the logs, unless an earlier run did."""
    import keras_infnet

    start, number = time.perf_counter(), number_of_logs(args)
    for i in range(number):
        if not log_folder(args, i).exists():
            rows, users = first_row(args, i + 1) - first_row(args, i), args.users // number
            keras_infnet.datasets.simulate(
                log_folder(args, i), rows, users, args.items, args.seed + i
            )
    return record(args.rows, start)


def number_of_logs(args: argparse.Namespace) -> int:
    return -(-args.rows // LOG_ROWS)


def first_row(args: argparse.Namespace, i: int) -> int:
    """Rows in the logs before number `i`."""
    return args.rows * i // number_of_logs(args)


def log_folder(args: argparse.Namespace, i: int) -> Path:
    return args.folder / "logs" / str(i)


def frames(args: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """All logs in pieces; users of different logs have different ids."""
    import keras_infnet

    for i in range(number_of_logs(args)):
        for frame in keras_infnet.datasets.KuaiRand(log_folder(args, i)).frames():
            frame["user_id"] += i * (args.users // number_of_logs(args))
            yield frame.set_index(frame.index + first_row(args, i))


def prepare(args: argparse.Namespace) -> dict[str, object]:
    """Encodes the logs to shards."""
    import keras_infnet

    schema, start = schema_of(args), time.perf_counter()
    partitions = max(1, args.rows // 500_000)
    out = args.folder / "prepared"
    keras_infnet.data.prepare(schema, frames(args), out, partitions=partitions, overwrite=True)
    return record(args.rows, start)


def stream(args: argparse.Namespace) -> dict[str, object]:
    """Reads one shuffled epoch of shards."""
    return count_rows(whole_batches(prepared(args)), args)


def memory(args: argparse.Namespace) -> dict[str, object]:
    """Encodes all logs in memory; only the shuffled epoch is timed."""
    import keras_infnet

    log = pd.concat(frames(args))
    data = keras_infnet.RankingData(prepared(args).encoder, log, batch_size=BATCH)
    return count_rows(data.train, args)


def train(args: argparse.Namespace) -> dict[str, object]:
    """Trains INFNet on streamed shards; the first steps, which compile, are not timed."""
    import keras_infnet

    data = prepared(args)
    model = keras_infnet.INFNet(data.schema)
    model.compile("adam", jit_compile=True, weighted_metrics=[])
    batches, steps = whole_batches(data).repeat(), max(1, args.train_rows // BATCH)
    model.fit(batches.take(3), verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(batches.take(steps), verbose=2, shuffle=False)
    return record(steps * BATCH, start)


def schema_of(args: argparse.Namespace) -> Any:
    """The schema of all logs."""
    import keras_infnet

    return keras_infnet.datasets.KuaiRand(log_folder(args, 0)).schema()


def prepared(args: argparse.Namespace) -> Any:
    """The shards as a `RankingData`."""
    import keras_infnet

    return keras_infnet.RankingData.open(args.folder / "prepared", batch_size=BATCH)


def whole_batches(data: Any) -> Any:
    """Shuffled training rows, without a last, smaller batch."""
    return data.batches("train", shuffle=True, drop_remainder=True)


def count_rows(dataset: object, args: argparse.Namespace) -> dict[str, object]:
    """Time of an epoch, without what comes before its first batch."""
    batches = iter(dataset)
    next(batches)
    start = time.perf_counter()
    rows = BATCH * sum(1 for _ in itertools.islice(batches, args.rows // BATCH))
    return record(rows, start)


STAGES = {
    "simulate": simulate,
    "prepare": prepare,
    "stream": stream,
    "memory": memory,
    "train": train,
}

if __name__ == "__main__":
    main()
