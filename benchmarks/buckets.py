"""Training steps with and without length buckets, on a log's histories as long as they are.

    python -m benchmarks.buckets --data path/to/KuaiRand-Pure --out buckets.json

Both ways train on the same number of rows of one prepared folder; what compiles is not timed.
Without `--data` the log is simulated.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import keras

import keras_infnet
from benchmarks.measuring import write_records
from keras_infnet.models import MODELS

BATCH = 512


def main() -> None:
    """Prepares a log, trains each model both ways and prints the table."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_log(Path(folder), args)
        records = [record for name in args.models for record in compare(name, prepared, args)]
    source = args.data.resolve().name if args.data else f"{args.rows:,} simulated rows"
    backend = keras.backend.backend()
    print(f"\n{source}, buckets {args.buckets}, batch {BATCH}, {backend}\n")
    print("| model | buckets | mean length | milliseconds a step | relative |")
    print("|---|---|---|---|---|")
    for r in records:
        numbers = f"{r['mean_length']:.0f} | {1000 * r['seconds']:.1f} | {r['relative']:.2f}"
        print(f"| {r['model']} | {'yes' if r['buckets'] else 'no'} | {numbers} |")
    if args.out:
        write_records(records, args.out)


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in KuaiRand's layout; default: simulate")
    parser.add_argument("--rows", type=int, default=200_000, help="rows to simulate")
    parser.add_argument("--users", type=int, help="default: one for each 50 rows, as in KuaiRand")
    parser.add_argument("--items", type=int, default=7_500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--buckets", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each way")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=MODELS,
        default=["INFNet", "DIEN", "HSTU"],
    )
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    args = parser.parse_args()
    args.users = args.users or max(20, args.rows // 50)
    return args


def prepare_log(folder: Path, args: argparse.Namespace) -> Path:
    """A log as a folder of shards with what came before it, if that is known."""
    if args.data is None:
        keras_infnet.datasets.simulate(folder / "log", args.rows, args.users, args.items, args.seed)
    data = keras_infnet.datasets.KuaiRand(args.data or folder / "log")
    warm, prepared = data.warm(), folder / "prepared"
    earlier = None if warm is None else {"exposures": warm}
    keras_infnet.data.prepare(
        data.schema(), data.frames(), prepared, earlier=earlier, verbose=False
    )
    return prepared


def compare(name: str, prepared: Path, args: argparse.Namespace) -> list[dict[str, object]]:
    """Records of a model without and with buckets."""
    records = []
    data = keras_infnet.RankingData.open(prepared, batch_size=BATCH, seed=args.seed)
    for buckets in (None, tuple(args.buckets)):
        cut = {"drop_remainder": True, "length_buckets": buckets}
        batches = data.batches("train", shuffle=True, **cut).repeat()
        model = MODELS[name](data.schema)
        seconds, mean_length = time_steps(model, batches, args.steps)
        whole = records[0]["seconds"] if records else seconds
        records.append(
            {
                "model": name,
                "backend": keras.backend.backend(),
                "buckets": list(buckets or ()),
                "mean_length": mean_length,
                "seconds": seconds,
                "relative": seconds / whole,
            }
        )
    return records


def time_steps(model: keras.Model, data: Any, steps: int) -> tuple[float, float]:
    """Seconds a step, and the mean length of the history; every length is compiled before."""
    model.compile("adam", jit_compile=True, weighted_metrics=[])
    batches = list(data.take(steps))
    history = model.schema.histories[0].name
    lengths = [int(x[history].shape[1]) for x, _, _ in batches]
    for length in sorted(set(lengths)):
        model.train_on_batch(*batches[lengths.index(length)])
    start = time.perf_counter()
    for batch in batches:
        loss = model.train_on_batch(*batch)
    float(loss[0] if isinstance(loss, list) else loss)
    return (time.perf_counter() - start) / steps, sum(lengths) / steps


if __name__ == "__main__":
    main()
