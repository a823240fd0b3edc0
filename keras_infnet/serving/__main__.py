"""Command `python -m keras_infnet.serving check`: does an export serve what was trained?"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_infnet._base.paths import local_path
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.check import CheckReport, check_request, check_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 if all answers agree."""
    parser = argparse.ArgumentParser("python -m keras_infnet.serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check",
        help="run a saved model through TensorFlow's C API and compare",
        description="Runs a saved model through TensorFlow's C API, the runtime of TensorFlow "
        "Serving, in a small C program, and compares its answers with those of Python's runtime.",
    )
    check.add_argument("saved_model", type=_path, metavar="DIR", help="the exported folder")
    check.add_argument(
        "--rows",
        type=_path,
        required=True,
        metavar="FILE",
        help="Parquet with feature columns and list columns, or a REST request (.json)",
    )
    check.add_argument("--model", type=_path, help="the model's .keras file, to compare with too")
    check.add_argument("--encoder", type=_path, help="the folder of the model's encoder")
    check.add_argument(
        "--tolerance",
        type=float,
        default=1e-5,
        help="default: 1e-5; from Keras at least that of the table dtype",
    )
    check.add_argument("--repeat", type=int, default=1, help="timed runs of each request")
    check.add_argument("--intra-threads", type=int, default=0, help="threads of an operation")
    check.add_argument("--inter-threads", type=int, default=0, help="operations at a time")
    parsed = parser.parse_args(arguments)
    if (parsed.model is None) != (parsed.encoder is None):
        check.error("--model and --encoder go together")
    try:
        report = _check(parsed)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    _print(report, parsed.tolerance, parsed.repeat)
    return 0 if report.ok(parsed.tolerance) else 1


def _path(text: str) -> Path:
    try:
        return local_path(text, "check", "path")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _check(parsed: argparse.Namespace) -> CheckReport:
    settings = {n: vars(parsed)[n] for n in ("repeat", "intra_threads", "inter_threads")}
    if not parsed.rows.is_file():
        raise ValueError(f"check: `{parsed.rows}` is no file; expected Parquet or a REST request.")
    if parsed.rows.suffix == ".json":
        if parsed.model is not None:
            raise ValueError("check: Keras is compared with on rows; give --rows a Parquet file.")
        return check_request(parsed.saved_model, parsed.rows.read_text("utf-8"), **settings)
    # Not by pandas, which can't read back its own columns of lists.
    frame = pq.read_table(parsed.rows).to_pandas(
        ignore_metadata=True,
        types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None,
    )
    model = encoder = None
    if parsed.model is not None:
        encoder = FeatureEncoder.load(parsed.encoder)
        model = keras.saving.load_model(parsed.model, compile=False)
        encoder.check_model(model, "check")
    settings["tolerance"] = parsed.tolerance
    return check_rows(parsed.saved_model, frame, model, encoder, **settings)


def _print(report: CheckReport, tolerance: float, repeat: int) -> None:
    head = ("signature", "output", "compared with", "rows", "largest difference")
    lines = [
        (*key, str(report.rows[key[0]]), f"{difference:.1e}")
        for key, difference in report.differences.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))
    if repeat > 1:
        for name, seconds in report.seconds.items():
            p50, p99 = 1000 * np.percentile(seconds, [50, 99])
            throughput = repeat * report.rows[name] / sum(seconds)
            print(f"{name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {throughput:.0f} rows/s")
    said = "agree" if report.ok(tolerance) else "DIFFER"
    other = report.keras_tolerance
    own = "" if other in (0, tolerance) else f", from Keras {other:g} before calibration"
    print(f"Answers {said} (tolerance {tolerance:g} of max(1, |answer|){own}).")


if __name__ == "__main__":
    sys.exit(main())
