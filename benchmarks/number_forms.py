"""What numbers are worth by the form that they are read in, on the validation rows of real logs.

    python -m benchmarks.number_forms --census path/to/census-income --kuairand path/to/KuaiRand

Each form of `NumericFeature.encoding` trains the same model on the same rows, once a seed; beside
the mean AUC over tasks stands its difference to buckets alone, seed by seed. No test row is read.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records
from keras_infnet import CategoricalFeature, FeatureSchema, NumericFeature, RankingData
from keras_infnet.models import MODELS

FORMS = ("bucket", "value", "normal", "ple", "bucket+value", "bucket+normal", "bucket+ple")
FORMS += ("value+ple", "bucket+value+ple", "bucket+value+normal+ple")
# Tasks of the census, and columns that say them again or say nothing.
CENSUS_TASKS = ("income", "never_married", "college")
LEFT_OUT = (*CENSUS_TASKS, "marital_stat", "education", "unknown")


def main() -> None:
    """Trains each form on each log and prints the table."""
    args = parse_arguments()
    records = [record for name, data in logs(args) for record in compare(name, data, args)]
    print(f"\n{args.models}, {args.epochs} epochs, {keras.backend.backend()}\n")
    print("| log | model | form | mean AUC | difference to buckets | standard error |")
    print("|---|---|---|---|---|---|")
    for r in records:
        numbers = f"{r['auc']:.5f} | {r['difference']:+.5f} | {r['standard_error']:.5f}"
        print(f"| {r['log']} | {r['model']} | {r['form']} | {numbers} |")
    if args.out:
        write_records(records, args.out)


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--census", type=Path, help="folder with train.parquet")
    parser.add_argument("--kuairand", type=Path, help="folder in KuaiRand's layout")
    parser.add_argument("--rows", type=int, help="training rows of the census; default: all")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["SharedBottom"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    return parser.parse_args()


def logs(args: argparse.Namespace) -> Iterator[tuple[str, tuple]]:
    """Name, schema, rows and parts of each log that is given."""
    if args.census:
        frame = pd.read_parquet(args.census / "train.parquet")
        frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
        last = frame[len(frame) * 7 // 8 :]
        frame = pd.concat([frame[: len(frame) - len(last)][: args.rows], last])
        yield "census-income", (census_schema(frame), frame, {"validation": last})
    if args.kuairand:
        log = keras_infnet.datasets.KuaiRand(args.kuairand)
        frame = log.frame()
        split = log.split(frame)
        parts = {"validation": split.validation, "test": split.test, "warm": log.warm()}
        yield "kuairand", (log.schema(), frame, parts)


def census_schema(frame: pd.DataFrame) -> FeatureSchema:
    """People as `user` features: integers are numbers, but codes of industry and occupation."""
    features = []
    for column in frame.columns.drop([*LEFT_OUT], errors="ignore"):
        is_number = pd.api.types.is_integer_dtype(frame[column]) and not column.endswith("_code")
        kind = NumericFeature if is_number else CategoricalFeature
        features.append(kind(column, "user"))
    tasks = [keras_infnet.BinaryTask(task) for task in CENSUS_TASKS]
    return FeatureSchema(features, tasks, user_key="age", time_key=None)


def compare(name: str, log: tuple, args: argparse.Namespace) -> list[dict[str, object]]:
    """Records of each model and form on one log, beside those of buckets."""
    records = []
    for model in args.models:
        found = {}
        for form in dict.fromkeys(["bucket", *args.forms]):
            data = encoded(*log, form, args.batch)
            aucs = [auc(model, data, seed, args) for seed in range(args.seeds)]
            found[form] = np.array(aucs)
            difference = found[form] - found["bucket"]
            error = difference.std(ddof=1) / len(aucs) ** 0.5 if len(aucs) > 1 else 0.0
            record = {"log": name, "model": model, "form": form, "auc": float(np.mean(aucs))}
            record |= {"difference": float(difference.mean()), "standard_error": float(error)}
            records.append(record)
            print(record, flush=True)
    return records


def encoded(
    schema: FeatureSchema, frame: pd.DataFrame, parts: dict, form: str, batch: int
) -> RankingData:
    """The rows, with all numbers in one form."""
    features = [
        replace(f, encoding=tuple(form.split("+"))) if isinstance(f, NumericFeature) else f
        for f in schema.features
    ]
    schema = replace(schema, features=features)
    return RankingData(schema, frame, batch_size=batch, **parts)


def auc(model: str, data: RankingData, seed: int, args: argparse.Namespace) -> float:
    """Mean validation AUC over tasks of a model that is trained on one seed."""
    keras.utils.set_random_seed(seed)
    network = MODELS[model](data.schema)
    network.compile(keras.optimizers.Adam(args.learning_rate), weighted_metrics=[])
    rows = data.batches("train", shuffle=True, seed=seed)
    network.fit(rows, epochs=args.epochs, shuffle=False, verbose=0)
    return float(data.evaluate(network, "validation")["auc"].mean())


if __name__ == "__main__":
    main()
