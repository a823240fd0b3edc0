"""What float16 and int8 embedding tables cost: AUC by task, probabilities, bytes on disk.

Trains models by the recipe on a simulated log, or with `--data` on KuaiRand, exports each with
float32, float16 and int8 tables, and answers all test rows with the three SavedModels.

    python benchmarks/table_dtypes.py --out table_dtypes.json
    python benchmarks/table_dtypes.py --data path/to/KuaiRand-Pure --models INFNet STEM --out FILE
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
from records import write_records

import keras_infnet

DTYPES = ("float32", "float16", "int8")
BATCH_SIZE = 512


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is None:
            data = Path(folder) / "log"
            keras_infnet.datasets.simulate(data, options.rows, seed=options.seed)
        log = Log(data, options.max_test_rows)
        records = []
        for name in options.models:
            model = log.train(keras_infnet.models.MODELS[name], options.seed)
            exported = {
                dtype: keras_infnet.serving.export(
                    model, log.encoder, Path(folder) / name, table_dtype=dtype
                )
                for dtype in DTYPES
            }
            records += compare(name, log, exported)
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


class Log:
    """Rows of a log, their encoder and histories."""

    def __init__(self, path: Path, max_test_rows: int) -> None:
        data = keras_infnet.datasets.KuaiRand(path)
        frame, warm = data.frame(), data.warm()
        earlier = {} if warm is None else {"exposures": warm}
        self.split = data.split(frame)
        self.test = self.split.test.head(max_test_rows)
        self.encoder = keras_infnet.data.FeatureEncoder(data.schema()).fit(
            self.split.train, earlier
        )
        self.histories = keras_infnet.data.Histories(self.encoder, frame, earlier)

    def train(self, model_class: Any, seed: int) -> Any:
        """A model trained for one epoch."""
        keras_infnet.training.set_seeds(seed)
        model = model_class(self.encoder.schema)
        train = keras_infnet.data.make_dataset(
            self.encoder,
            self.split.train,
            self.histories,
            batch_size=BATCH_SIZE,
            shuffle=True,
            seed=seed,
        )
        validation = keras_infnet.data.make_dataset(
            self.encoder, self.split.validation, self.histories, batch_size=2048
        )
        keras_infnet.fit_ranker(model, train, validation, verbose=2)
        return model


def compare(name: str, log: Log, exported: Mapping[str, Path]) -> list[dict[str, Any]]:
    """One record for each table dtype and task."""
    answers = {dtype: answer(path, log) for dtype, path in exported.items()}
    exact, records = answers["float32"], []
    for dtype, of_dtype in answers.items():
        for task in log.encoder.schema.tasks:
            auc = keras_infnet.metrics.auc(log.test[task.label], of_dtype[task.name])
            lost = keras_infnet.metrics.auc(log.test[task.label], exact[task.name]) - auc
            change = np.abs(of_dtype[task.name] - exact[task.name]).max()
            records.append(
                {
                    "model": name,
                    "table_dtype": dtype,
                    "task": task.name,
                    "test_rows": len(log.test),
                    "auc": float(auc),
                    "auc_lost": float(lost),
                    "largest_difference": float(change),
                    "bytes": size_on_disk(exported[dtype]),
                    "variables_bytes": size_on_disk(exported[dtype] / "variables"),
                }
            )
    return records


def answer(path: Path, log: Log) -> Mapping[str, np.ndarray]:
    """Answers of a SavedModel to all test rows, by task."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    parts = []
    for start in range(0, len(log.test), 1000):
        rows = log.histories.attach(log.test.iloc[start : start + 1000])
        request = keras_infnet.data.frame_to_request(log.encoder.schema, rows)
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
