"""Seconds of a training step against the rows of the embedding table, dense and row-wise.

Each model is one table of width 32 that a step looks up 102,400 times, and one logistic head. Dense
is stock Keras; row-wise are `SparseAdagrad` and `LazyAdam` with their threshold off. "same" ids
come from the first ten thousand rows whatever the table's size, "uniform" ids from all of them.
The steps of tables of all sizes alternate.

    python -m benchmarks.vocabulary --rows 10000 1000000 16000000 --out vocabulary.json

With 16 million rows, dense Adam needs 9 GB of memory.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import run_child, write_records

DIM, BATCH, FIELDS, SAME_ROWS = 32, 1024, 100, 10_000
OPTIMIZERS, UPDATES, IDS = ("adagrad", "adam"), ("dense", "row-wise"), ("same", "uniform")


def main() -> None:
    options = parse_arguments()
    if options.child:
        measure_backend(options)
        return
    records = []
    for cell in itertools.product(options.backends, options.optimizers, options.updates):
        print(*cell, "...", flush=True)
        records += records_of(*cell, options)
    print(markdown_table(records))
    if options.out:
        write_records(records, options.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 16_000_000])
    parser.add_argument(
        "--backends", nargs="+", default=["tensorflow", "jax"], choices=["tensorflow", "jax"]
    )
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS, choices=OPTIMIZERS)
    parser.add_argument("--updates", nargs="+", default=UPDATES, choices=UPDATES)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each table")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"of {FIELDS} look-ups")
    parser.add_argument("--out", type=Path, help="JSON file for the seconds")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(*options.rows, options.steps, options.batch) < 1:
        parser.error("rows, steps and batch must be 1 or more")
    return options


def records_of(
    backend: str, optimizer: str, update: str, options: argparse.Namespace
) -> list[dict]:
    """The records of one kind of step, from a process of its own: it gives all memory back."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "records.json"
        given = ["--child", "--out", out, "--backends", backend]
        given += ["--steps", options.steps, "--batch", options.batch]
        given += ["--optimizers", optimizer, "--updates", update]
        given += ["--rows", *options.rows]
        run_child("benchmarks.vocabulary", given, backend)
        return json.loads(out.read_text())


def measure_backend(options: argparse.Namespace) -> None:
    (backend,) = options.backends
    records = []
    for optimizer in options.optimizers:
        for update in options.updates:
            for (rows, ids), seconds in measure(optimizer, update, options).items():
                record = {"backend": backend, "optimizer": optimizer, "rows": rows}
                records.append({**record, "update": update, "ids": ids, "seconds": seconds})
    write_records(records, options.out)


def measure(optimizer: str, update: str, options: argparse.Namespace) -> dict:
    """Median seconds of a step by (rows, ids); the steps of all cells alternate."""
    models = {rows: make_model(rows, make_optimizer(optimizer, update)) for rows in options.rows}
    cells = {
        (rows, ids): make_batches(rows if ids == "uniform" else min(rows, SAME_ROWS), options)
        for rows in options.rows
        for ids in IDS
    }
    seconds = {cell: [] for cell in cells}
    for step in range(options.steps + 2):
        for (rows, ids), batches in cells.items():
            x, y = batches[step % len(batches)]
            start = time.perf_counter()
            models[rows].train_on_batch(x, y)
            if step >= 2:
                seconds[rows, ids].append(time.perf_counter() - start)
    return {cell: statistics.median(found) for cell, found in seconds.items()}


def make_model(rows: int, optimizer):
    import keras

    import keras_infnet

    class OneTable(keras_infnet.models.RankingModel):
        """`click = sigmoid(w mean(rows) + b)`."""

        @classmethod
        def graph(cls, schema, config):
            ids = keras.Input((FIELDS,), dtype="int32", name="categorical")
            embedding = keras_infnet.layers.FusedEmbedding({"video_id": rows}, DIM)
            mean = keras.ops.mean(embedding(ids, tables=("video_id",) * FIELDS), axis=1)
            click = keras.layers.Dense(1, activation="sigmoid", name="click")(mean)
            return {"categorical": ids}, {"click": click}

    video = keras_infnet.CategoricalFeature("video_id", "item")
    schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
    model = OneTable(schema.with_sizes({"video_id": rows}, base_rates={"click": 0.5}))
    model.compile(optimizer, jit_compile=True, weighted_metrics=[])
    return model


def make_optimizer(name: str, update: str):
    import keras

    from keras_infnet.optimizers import LazyAdam, SparseAdagrad

    if update == "dense":
        stock = {"adagrad": keras.optimizers.Adagrad, "adam": keras.optimizers.Adam}
        return stock[name](0.01)
    row_wise = {"adagrad": SparseAdagrad, "adam": LazyAdam}
    return row_wise[name](0.01, row_updates_from=0)


def make_batches(rows: int, options: argparse.Namespace) -> list[tuple]:
    """A few batches, so that uniform ids of a step are not in the caches from the step before."""
    import numpy as np

    rng = np.random.default_rng(0)
    batches = []
    for _ in range(4):
        ids = rng.integers(0, rows, (options.batch, FIELDS)).astype("int32")
        clicks = rng.integers(0, 2, (options.batch, 1)).astype("float32")
        batches.append(({"categorical": ids}, {"click": clicks}))
    return batches


def markdown_table(records: list[dict]) -> str:
    cells = {
        tuple(r[key] for key in ("backend", "optimizer", "update", "ids", "rows")): r["seconds"]
        for r in records
    }
    sizes = list(dict.fromkeys(r["rows"] for r in records))
    lines = [
        f"Milliseconds of a step, look-ups of width {DIM}, by rows of the table:",
        "",
        f"| backend | optimizer | update | ids | {' | '.join(f'{rows:,}' for rows in sizes)} |",
        f"|---|---|---|---|{'---|' * len(sizes)}",
    ]
    for key in dict.fromkeys(cell[:-1] for cell in cells):
        found = [f"{1000 * cells[*key, rows]:.1f}" for rows in sizes]
        lines.append(f"| {' | '.join((*key, *found))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
