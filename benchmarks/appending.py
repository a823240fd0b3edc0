"""Days that are appended to a prepared folder: seconds and peak memory of each.

    python -m benchmarks.appending --rows 2000000 --days 11 --out appending.json

A day of the log is written as Parquet, then `prepare(append=True)` adds it to the folder in a
process of its own, whose peak memory is its own. Users come back, and a twentieth of the videos are
new each day.
"""

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measuring import run_child, write_records

_START_MS, _DAY_MS = 1_750_000_000_000, 86_400_000
_ROWS_A_USER, _VIDEOS = 5, 20_000
_ARGUMENTS = ("rows", "folder", "partitions")


def main() -> None:
    """Appends the days and prints the table."""
    args = parse_arguments()
    if args.day is not None:
        print(json.dumps(append(args)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        records = []
        for day in range(1, args.days + 1):
            same = [part for name in _ARGUMENTS for part in (f"--{name}", getattr(args, name))]
            printed = run_child("benchmarks.appending", [*same, "--day", day])
            records.append(json.loads(printed.splitlines()[-1]))
            print(line(records[-1]), flush=True)
            if args.out:
                write_records(records, args.out)
    print(f"\n{args.rows:,} rows a day, {platform.machine()}\n")
    print("| day | rows before | seconds | CPU seconds | peak memory (GB) | past (GB) |")
    print("|---|---|---|---|---|---|")
    print("\n".join(map(line, records)))


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run, and the day where this is a process for one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of a day")
    parser.add_argument("--days", type=int, default=11)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="keeps the prepared folder here")
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    parser.add_argument("--day", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def append(args: argparse.Namespace) -> dict[str, Any]:
    """Adds a day, and says what it took."""
    import keras_infnet

    log, out = args.folder / "day.parquet", args.folder / "prepared"
    day_frame(args.day, args.rows).to_parquet(log, index=False)
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    keras_infnet.data.prepare(
        schema(),
        log,
        out,
        splits={f"day{args.day}": None},
        partitions=args.partitions,
        append=True,
        verbose=False,
    )
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    past = sum(path.stat().st_size for path in (out / "past").rglob("*") if path.is_file())
    return {
        "day": args.day,
        "rows": args.rows,
        "rows_before": (args.day - 1) * args.rows,
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_gb": after.ru_maxrss / 2**20,
        "past_gb": past / 2**30,
    }


def schema() -> Any:
    """Ids that come and go, a number, a rate of the past, and a history of twenty events."""
    import keras_infnet as ki

    return ki.FeatureSchema(
        features=[
            ki.CategoricalFeature("user_id", "user", dtype="int"),
            ki.CategoricalFeature("video_id", "item", dtype="int"),
            ki.NumericFeature("length", "item"),
            ki.RateFeature("click_rate", "user", action="click"),
        ],
        tasks=[ki.BinaryTask("click")],
        histories=[ki.History("seen", ("video_id",), max_length=20, actions=("click",))],
    )


def day_frame(day: int, rows: int) -> pd.DataFrame:
    """Rows of a day in the order of time."""
    draw = np.random.default_rng(day)
    start = _START_MS + _DAY_MS * day
    return pd.DataFrame(
        {
            "user_id": draw.integers(0, max(1, rows // _ROWS_A_USER), rows),
            "video_id": draw.integers(0, _VIDEOS, rows) + day * _VIDEOS // 20,
            "time_ms": start + np.sort(draw.integers(0, _DAY_MS, rows)),
            "click": draw.integers(0, 2, rows),
            "length": draw.random(rows),
        }
    )


def line(r: dict[str, Any]) -> str:
    """A row of the table."""
    numbers = f"{r['seconds']:.1f} | {r['cpu_seconds']:.1f} | {r['peak_gb']:.2f}"
    return f"| {r['day']} | {r['rows_before']:,} | {numbers} | {r['past_gb']:.2f} |"


if __name__ == "__main__":
    main()
