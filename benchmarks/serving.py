"""Latency of exported models through TensorFlow's C API: `serving_default` against `rank`.

Requests hold raw features and full histories, so that encoding counts; what a server adds (REST or
gRPC) does not. Weights are random: speed does not depend on them. Requests of the two signatures
alternate in one process, so ratios are those of one run.

    python benchmarks/serving.py --models all --threads 2 --out serving.json
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from protocol.space import check_models
from records import write_records
from serving_latency import Measurement, measure

DTYPES = ("float32", "float16", "int8")


def main() -> None:
    options = parse_arguments()
    records: list[dict[str, Any]] = []
    failed: list[str] = []
    for found in measure(measurement_of(options)):
        if isinstance(found, str):
            failed.append(found)
            continue
        records += found
        if options.out:
            write_records(records, options.out)
    print(markdown_table(records, options.threads))
    if failed:
        sys.exit("Not measured:\n" + "\n".join(failed))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["INFNet", "SharedBottom"])
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--table-dtypes", nargs="+", choices=DTYPES, default=["float32", "int8"])
    parser.add_argument("--repeat", type=int, default=100, help="requests of a signature, at most")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of requests of a signature; 3 are sent anyway"
    )
    parser.add_argument("--threads", type=int, default=0, help="default: TensorFlow chooses")
    parser.add_argument(
        "--memory-gb", type=float, default=10, help="that this and the C process may take, each"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="of the simulated log")
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    options = parser.parse_args()
    if min(*options.candidates, *options.lengths) < 1 or not 0 <= options.threads <= 127:
        parser.error("candidates and lengths must be 1 or more, threads 0 to 127")
    if options.repeat < 3 or min(options.seconds, options.memory_gb) <= 0:
        parser.error("repeat must be 3 or more, seconds and memory-gb above 0")
    try:
        options.models = check_models(options.models)
    except ValueError as error:
        parser.error(str(error))
    return options


def measurement_of(options: argparse.Namespace) -> Measurement:
    given = vars(options)
    return Measurement(**{name: value for name, value in given.items() if name != "out"})


def markdown_table(records: list[dict[str, Any]], threads: int) -> str:
    """p50 and p99 of both signatures in ms, the number of requests, and the ratio of the p50."""
    lines = [
        f"Milliseconds of a request ({threads or 'default'} threads); repeats are pairwise/rank:",
        "",
        "| model | events | tables | candidates | pairwise p50 | p99 | rank p50 | p99 "
        "| repeats | pairwise/rank | rank, candidates a second |",
        f"|{'---|' * 11}",
    ]
    for pairwise, rank in zip(records[::2], records[1::2], strict=True):
        cells = [rank["model"], f"{rank['length']:,}", rank["table_dtype"]]
        cells.append(f"{rank['candidates']:,}")
        cells += [f"{r[name]:.1f}" for r in (pairwise, rank) for name in ("p50_ms", "p99_ms")]
        cells.append(f"{pairwise['repeats']}/{rank['repeats']}")
        cells.append(f"{pairwise['p50_ms'] / rank['p50_ms']:.1f}")
        lines.append(f"| {' | '.join(cells)} | {rank['candidates_per_second']:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
