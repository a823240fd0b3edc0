"""What float16 and int8 embedding tables cost: AUC by task, probabilities, bytes on disk.

Trains models by the recipe on a simulated log, or with `--data` on KuaiRand, exports each with
float32, float16 and int8 tables, and answers all test rows with the three SavedModels.

    python -m benchmarks.table_dtypes --out table_dtypes.json
    python -m benchmarks.table_dtypes --data path/to/KuaiRand-Pure --models INFNet STEM --out FILE
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records

DTYPES = ("float32", "float16", "int8")
BATCH_SIZE = 512


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        log = options.data
        if log is None:
            log = Path(folder) / "log"
            keras_infnet.datasets.simulate(log, options.rows, seed=options.seed)
        data = load_data(log, options.seed)
        rows = data.attach(data.frame("test").head(options.max_test_rows))
        records = []
        for name in options.models:
            model = train(name, data, options.seed)
            exported = {
                dtype: keras_infnet.serving.export(
                    model, data, Path(folder) / name, table_dtype=dtype
                )
                for dtype in DTYPES
            }
            records += compare(name, data.schema, rows, exported)
    print(markdown_table(records))
    if options.out:
        write_records(records, options.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in KuaiRand's layout; default: simulate")
    parser.add_argument("--rows", type=int, default=500_000, help="rows to simulate")
    parser.add_argument(
        "--models", nargs="+", default=["INFNet"], choices=keras_infnet.models.MODELS
    )
    parser.add_argument("--max-test-rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    return parser.parse_args()


def load_data(path: Path, seed: int) -> keras_infnet.RankingData:
    """The log, its split and what came before it."""
    log = keras_infnet.datasets.KuaiRand(path)
    frame = log.frame()
    split = log.split(frame)
    return keras_infnet.RankingData(
        log.schema(),
        frame,
        validation=split.validation,
        test=split.test,
        warm=log.warm(),
        batch_size=BATCH_SIZE,
        seed=seed,
    )


def train(name: str, data: keras_infnet.RankingData, seed: int) -> Any:
    """A model trained for one epoch."""
    keras_infnet.training.set_seeds(seed)
    model = keras_infnet.models.MODELS[name](data.schema)
    keras_infnet.fit_ranker(model, data, verbose=2)
    return model


def compare(
    name: str, schema: Any, rows: pd.DataFrame, exported: Mapping[str, Path]
) -> list[dict[str, Any]]:
    """One record for each table dtype and task."""
    answers = {dtype: answer(path, schema, rows) for dtype, path in exported.items()}
    exact, records = answers["float32"], []
    for dtype, of_dtype in answers.items():
        for task in schema.tasks:
            auc = keras_infnet.metrics.auc(rows[task.label], of_dtype[task.name])
            lost = keras_infnet.metrics.auc(rows[task.label], exact[task.name]) - auc
            change = np.abs(of_dtype[task.name] - exact[task.name]).max()
            records.append(
                {
                    "model": name,
                    "table_dtype": dtype,
                    "task": task.name,
                    "test_rows": len(rows),
                    "auc": float(auc),
                    "auc_lost": float(lost),
                    "largest_difference": float(change),
                    "bytes": size_on_disk(exported[dtype]),
                    "variables_bytes": size_on_disk(exported[dtype] / "variables"),
                }
            )
    return records


def answer(path: Path, schema: Any, rows: pd.DataFrame) -> Mapping[str, np.ndarray]:
    """Answers of a SavedModel to rows with their histories, by task."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    parts = []
    for start in range(0, len(rows), 1000):
        request = keras_infnet.data.frame_to_request(schema, rows.iloc[start : start + 1000])
        answers = serve(**{name: tf.constant(values) for name, values in request.items()})
        parts.append(pd.DataFrame({t: v.numpy()[:, 0] for t, v in answers.items()}))
    return {task: values.to_numpy() for task, values in pd.concat(parts).items()}


def size_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def markdown_table(records: list[dict[str, Any]]) -> str:
    lines = [
        "| model | tables | task | AUC | AUC lost | largest difference | variables (MB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in records:
        numbers = f"{r['auc']:.5f} | {r['auc_lost']:+.5f} | {r['largest_difference']:.1e}"
        names = f"{r['model']} | {r['table_dtype']} | {r['task']}"
        lines.append(f"| {names} | {numbers} | {r['variables_bytes'] / 1e6:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
