"""Ratios of our library to others on equal work, each of which is installed beside, not in `.venv`.

    python -m benchmarks.peers --out peers.json

47 fields, 50 events, width 32, equal hidden sizes, Adam, batches of 256, one thread on one core;
steps of ours and of the other alternate in one run. A run that was stopped goes on after what is
in `--out`. What can't be installed or measured is a row that says why.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import write_records
from benchmarks.peers.adapters import ADAPTERS, OURS
from benchmarks.peers.install import install, python_of
from benchmarks.peers.runner import FULL, QUICK, Run
from benchmarks.peers.table import markdown_tables
from benchmarks.peers.worker import WorkerProcess


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    records, failed = earlier(options.out), []
    installed = [OURS]
    for library in options.only:
        print(f"installing {library} ...", flush=True)
        reason = install(options.venv, ADAPTERS[library])
        if reason is None:
            installed.append(library)
        else:
            failed.append({"library": library, "error": f"not installed: {reason}"})

    def connect(library: str, home: Path | None = None) -> WorkerProcess:
        python = Path(sys.executable) if library == OURS else python_of(options.venv)
        return WorkerProcess(library, python, home)

    run = Run(
        QUICK if options.quick else FULL,
        OURS,
        {library: ADAPTERS[library].models for library in installed},
        connect,
        records,
        time.monotonic() + 60 * options.minutes,
    )
    write(options.out, records, failed)
    for found in run.records():
        for record in found:
            kept = failed if "error" in record else records
            kept.append({**record, "load": os.getloadavg()[0]})
        print(_progress(found), flush=True)
        write(options.out, records, failed)
    print()
    print(markdown_tables([*records, *failed]))
    if run.stopped:
        sys.exit(f"{options.minutes:g} minutes are over. The same command goes on from here.")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__.splitlines()[0]
    )
    others = [library for library in ADAPTERS if library != OURS]
    parser.add_argument("--quick", action="store_true", help="two networks and a short log")
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    parser.add_argument(
        "--venv", type=Path, default=Path("runs/peers"), help="environment of the libraries"
    )
    parser.add_argument("--only", nargs="+", default=others, choices=others, help="libraries")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which nothing is begun")
    options = parser.parse_args(arguments)
    options.venv = options.venv.absolute()
    return options


def write(out: Path | None, *records: Sequence[dict[str, Any]]) -> None:
    """Writes all records, if a file is asked for."""
    if out is not None:
        write_records([record for part in records for record in part], out)


def earlier(out: Path | None) -> list[dict[str, Any]]:
    """What an earlier run measured; what it could not is tried again."""
    if out is None or not out.exists():
        return []
    return [record for record in json.loads(out.read_text()) if "error" not in record]


def _progress(found: Sequence[dict[str, Any]]) -> str:
    lines = []
    for r in found:
        where = f"{r['library']}, {r['model']}, {r['rows']:,} rows, {r['length']:,} events"
        what = r.get("error") or f"{r['measure']} {r['ratio']:.2f}"
        lines.append(f"{where}: {what}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
