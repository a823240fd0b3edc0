"""Examples a second of all models in training and inference, relative to SharedBottom.

All models have 32 numbers an id and the library's defaults for everything else; histories are full.
The steps of all models alternate, so ratios are those of one run.

    python -m benchmarks.models --lengths 64 1000 --backend jax --out models.json
    python -m benchmarks.models --compare-backends --out backends.json

`--compare-backends` has JAX's seconds over TensorFlow's instead, in two processes that take turns;
stopped, it goes on after the last model in `--out`.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.measuring import write_records

BATCH = 128


def main() -> None:
    options = parse_arguments(__doc__, compares=True)
    if options.compare_backends:
        report_backends(options)
        return
    # Keras takes the backend when it is imported.
    from benchmarks.model_speed import Measurement, measure

    report(measure(Measurement(**measurement_of(options)), options.lengths), options.out)


def parse_arguments(text: str, compares: bool = False) -> argparse.Namespace:
    """Arguments that all benchmarks of models have; chooses the backend, unless it is imported."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["all"])
    parser.add_argument("--backend", choices=["tensorflow", "jax"], help="default: Keras's own")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a model in a round; one is unused")
    parser.add_argument("--rows", type=int, default=20_000, help="of the simulated log")
    parser.set_defaults(compare_backends=False)
    if compares:
        parser.add_argument("--compare-backends", action="store_true", help="JAX over TensorFlow")
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    options = parser.parse_args()
    if min(*options.lengths, options.batch, options.rounds, options.steps - 1) < 1:
        parser.error("lengths, batch and rounds must be 1 or more, steps 2 or more")
    if options.compare_backends and options.backend:
        parser.error("--compare-backends runs both backends; leave out --backend")
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    return options


def measurement_of(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("models", "batch", "rounds", "steps", "rows")}


def report_backends(options: argparse.Namespace) -> None:
    """Compares the backends, and prints the table."""
    from benchmarks.compare_backends import Comparison, compare, markdown_table
    from benchmarks.protocol.space import check_models

    given = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "rows")}
    comparison = Comparison(tuple(check_models(options.models)), tuple(options.lengths), **given)
    records = compare(comparison, options.out)
    print(f"\nJAX's seconds over TensorFlow's:\n\n{markdown_table(records)}")


def report(records: list[dict[str, Any]], out: Path | None) -> None:
    """Prints the table, and writes the records."""
    print(markdown_table(records))
    if out:
        write_records(records, out)


def markdown_table(records: list[dict[str, Any]]) -> str:
    """Examples a second, and in brackets the ratio to SharedBottom."""
    lengths = list(dict.fromkeys(r["length"] for r in records))
    modes = ("train", "inference")
    heads = [f"{mode}, {length:,} events" for length in lengths for mode in modes]
    first = records[0]
    where = f" on {first['device']}" if "device" in first else ""
    lines = [
        f"Examples a second ({first['backend']}{where}, batch {first['batch']}), and in brackets "
        "relative to SharedBottom:",
        "",
        f"| model | parameters | {' | '.join(heads)} |",
        f"|---|---|{'---|' * len(heads)}",
    ]
    of = {(r["model"], r["length"]): r for r in records}
    for model in dict.fromkeys(r["model"] for r in records):
        cells = [_cell(of[model, length], mode) for length in lengths for mode in modes]
        parameters = f"{of[model, lengths[0]]['parameters']:,}"
        lines.append(f"| {' | '.join((model, parameters, *cells))} |")
    return "\n".join(lines)


def _cell(record: dict[str, Any], mode: str) -> str:
    return f"{record[f'{mode}_examples_per_second']:,.0f} ({record[f'{mode}_ratio']:.2f})"


if __name__ == "__main__":
    main()
