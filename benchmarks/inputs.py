"""What each kind of input is worth: one network, the same rows, one kind of input changed.

    python -m benchmarks.inputs --log kuairand-cold --data path/to/KuaiRand-Pure --out inputs.json

Logs are those of `benchmarks.accuracy`. Beside the mean AUC over tasks stands its difference to
`all`, seed by seed. Runs that are in `--out` are not repeated, so a stopped command goes on.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records
from benchmarks.protocol.data import open_log, split_rows, train_batches
from benchmarks.protocol.logs import LOGS
from keras_infnet import (
    CountFeature,
    FeatureSchema,
    NumericFeature,
    RankingData,
    RateFeature,
    SecondsSinceFeature,
)
from keras_infnet.models import MODELS

PAST = (RateFeature, CountFeature, SecondsSinceFeature)


def without_rates(schema: FeatureSchema) -> FeatureSchema:
    """The schema without features of the past."""
    return replace(schema, features=tuple(f for f in schema.features if not isinstance(f, PAST)))


def without_histories(schema: FeatureSchema) -> FeatureSchema:
    """The schema without histories."""
    return replace(schema, histories=())


def numbers_as(*encoding: str) -> Callable[[FeatureSchema], FeatureSchema]:
    """A change of the encoding of all numbers, rates included."""

    def change(schema: FeatureSchema) -> FeatureSchema:
        features = [
            replace(f, encoding=encoding) if isinstance(f, NumericFeature) else f
            for f in schema.features
        ]
        return replace(schema, features=tuple(features))

    return change


SETTINGS: dict[str, Callable[[FeatureSchema], FeatureSchema]] = {
    "all": lambda schema: schema,
    "numbers as buckets": numbers_as("bucket"),
    "numbers as values": numbers_as("value"),
    "numbers as buckets and normal quantiles": numbers_as("bucket", "normal"),
    "numbers as buckets, values, piecewise-linear": numbers_as("bucket", "value", "ple"),
    "without rates": without_rates,
    "without histories": without_histories,
    "without rates and histories": lambda schema: without_rates(without_histories(schema)),
    "events with match": lambda schema: schema,
}


def main() -> None:
    """Trains what is missing and prints the table."""
    args = parse_arguments()
    records = json.loads(args.out.read_text()) if args.out and args.out.exists() else []
    log = read_log(args)
    for setting in changing(args.settings, log[0].schema(log[1])):
        seeds = [s for s in range(args.seeds) if not found(records, setting, s, args)]
        if not seeds:
            continue
        data = encoded(*log, setting, args)
        for seed in seeds:
            records.append(record(data, setting, seed, args))
            print(records[-1], flush=True)
            if args.out:
                write_records(records, args.out)
    print_table([r for r in records if (r["log"], r["model"]) == (args.log, args.model)])


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", default="kuairand", choices=list(LOGS), help="what --data holds")
    parser.add_argument("--data", type=Path, required=True, help="folder of the log's files")
    parser.add_argument("--model", choices=MODELS, default="INFNet")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    return parser.parse_args()


def read_log(args: argparse.Namespace) -> tuple[Any, Any, pd.DataFrame]:
    """The log, its data set, and its rows."""
    log = LOGS[args.log]
    dataset = open_log(args.log, args.data, log.tasks)
    return log, dataset, dataset.frame()


def changing(settings: list[str], schema: FeatureSchema) -> list[str]:
    """The settings that change something on this log, `all` first."""
    kept = [s for s in settings if s != "all" and SETTINGS[s](schema) != schema]
    match = ["events with match"] if "events with match" in settings and schema.histories else []
    return ["all", *kept, *match]


def found(records: list[dict[str, Any]], setting: str, seed: int, args: argparse.Namespace) -> bool:
    """Whether a run is among the records."""
    key = key_of(setting, seed, args)
    return any(key.items() <= record.items() for record in records)


def key_of(setting: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """What a run is told by."""
    of_run = {"log": args.log, "model": args.model, "setting": setting, "seed": seed}
    sizes = {"epochs": args.epochs, "batch_size": args.batch_size, "part": args.part}
    return {**of_run, **sizes, "backend": keras.backend.backend()}


def encoded(
    log: Any, dataset: Any, frame: pd.DataFrame, setting: str, args: argparse.Namespace
) -> RankingData:
    """The rows, their inputs changed as the setting says."""
    schema, split = SETTINGS[setting](log.schema(dataset)), split_rows(dataset, frame)
    parts = {"validation": split.validation, "test": split.test}
    if schema.histories:
        parts["warm"] = log.warm_events(dataset)
    return RankingData(schema, frame, batch_size=args.batch_size, **parts)


def record(data: RankingData, setting: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """AUC by task of a model trained with one seed."""
    keras_infnet.training.set_seeds(seed)
    given = {}
    if setting == "events with match":
        # The default, spelled out, and the matches.
        given["event_context"] = (*data.schema.event_quantities(), "position", "match")
    model = MODELS[args.model](data.schema, **given)
    batches = train_batches(data, args.batch_size, seed)
    keras_infnet.fit_ranker(model, batches, data.validation, epochs=args.epochs, verbose=0)
    auc = data.evaluate(model, args.part)["auc"]
    numbers = {"auc": float(auc.mean()), **{f"auc_{task}": float(a) for task, a in auc.items()}}
    return {**key_of(setting, seed, args), **numbers}


def print_table(records: list[dict[str, Any]]) -> None:
    """Mean AUC by setting, and its paired difference to `all`."""
    by_seed = pd.DataFrame(records).pivot_table("auc", "setting", "seed", sort=False)
    differences = by_seed - by_seed.loc["all"]
    errors = differences.std(axis=1, ddof=1) / differences.count(axis=1) ** 0.5
    print("\n| setting | mean AUC | difference to `all` | standard error |\n|---|---|---|---|")
    for setting, mean in by_seed.mean(axis=1).items():
        difference = differences.loc[setting].mean()
        print(f"| {setting} | {mean:.5f} | {difference:+.5f} | {errors[setting]:.5f} |")


if __name__ == "__main__":
    main()
