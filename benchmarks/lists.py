"""Training on rows, on whole lists, and on whole lists with each list loss: what each changes.

    python -m benchmarks.lists --data path/to/KuaiRand-Pure --out lists.json

A list is a user's day. "lists" against "rows" is the effect of the shuffling that whole lists lose,
alone; each list loss is to be read against "lists". All start at the same weights of a seed.
Without `--data` the log is simulated.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records
from keras_infnet.losses import JRC, RCR, CombinedPair
from keras_infnet.models import MODELS

LIST_KEY = ("user_id", "date")
LOSSES: dict[str, Any] = {
    "JRC": JRC,
    "RCR": RCR,
    "CombinedPair": CombinedPair,
    "CombinedPair, lists": lambda list_weight: CombinedPair(list_weight, within="list"),
}
MEASURES = ["auc", "gauc", "gauc_list", "ndcg@10", "mrr", "log_loss", "ece"]


def main() -> None:
    """Trains every way with every seed and prints the means over seeds by task."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        data = read_log(Path(folder), args)
        records = [r for seed in range(args.seeds) for r in train_all(data, seed, args)]
    source = args.data.resolve().name if args.data else f"{args.rows:,} simulated rows"
    print(f"\n{args.model} on {source}, batch {args.batch_size}, {args.seeds} seeds\n")
    means = pd.DataFrame(records).groupby(["task", "way"], sort=False)[MEASURES].mean()
    print("| task | way | " + " | ".join(MEASURES) + " |")
    print("|---" * (len(MEASURES) + 2) + "|")
    for (task, way), numbers in means.iterrows():
        print(f"| {task} | {way} | " + " | ".join(f"{n:.4f}" for n in numbers) + " |")
    if args.out:
        write_records(records, args.out)


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in KuaiRand's layout; default: simulate")
    parser.add_argument("--rows", type=int, default=200_000, help="rows to simulate")
    parser.add_argument("--model", choices=MODELS, default="SharedBottom")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--losses", nargs="*", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    return parser.parse_args()


def read_log(folder: Path, args: argparse.Namespace) -> keras_infnet.RankingData:
    """The log with a user's days for lists."""
    if args.data is None:
        keras_infnet.datasets.simulate(folder / "log", args.rows)
    log = keras_infnet.datasets.KuaiRand(args.data or folder / "log")
    frame = log.frame()
    schema = replace(log.schema(), list_key=LIST_KEY)
    split = log.split(frame)
    return keras_infnet.RankingData(
        schema, frame, validation=split.validation, test=split.test, warm=log.warm()
    )


def train_all(
    data: keras_infnet.RankingData, seed: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Records of all ways with one seed."""
    binary = [t.name for t in data.schema.tasks if isinstance(t, keras_infnet.BinaryTask)]
    ways: dict[str, tuple[Any, Any]] = {"rows": ("row", None), "lists": ("list", None)}
    for name in args.losses:
        for weight in args.weights:
            losses = {task: LOSSES[name](weight) for task in binary}
            ways[f"{name} {weight:g}"] = ("list", losses)
    records = []
    for way, (by, losses) in ways.items():
        keras_infnet.training.set_seeds(seed)
        model = MODELS[args.model](data.schema)
        batches = data.batches("train", shuffle=True, batch_size=args.batch_size, seed=seed, by=by)
        # Without a validation in between all ways end after the same rows.
        history = keras_infnet.fit_ranker(
            model, batches, epochs=args.epochs, list_losses=losses, verbose=0
        )
        measured = data.evaluate(model, args.part, calibration=True)
        for task, numbers in measured.loc[binary, MEASURES].iterrows():
            of_run = {"task": task, "way": way, "seed": seed, "batches": len(batches)}
            of_run["training_loss"] = float(history.history["loss"][-1])
            records.append({**of_run, "backend": keras.backend.backend(), **numbers})
    return records


if __name__ == "__main__":
    main()
