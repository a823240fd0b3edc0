"""Fast against textbook `INFNet.paper_v1`: what not projecting and not gating the tokens saves.

Both models have the same weights and the same look-ups. The textbook one is written here as in the
paper: every attention projects keys and values of all tokens, every gate writes all tokens, and
sequence tokens are projected before they are pooled. Both are compiled by XLA, and their steps
alternate.

    python -m benchmarks.attention --lengths 64 256 1000 4000 --out attention.json
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import run_child, write_records

FIELDS, BEHAVIOURS, DIM, BATCH, TABLE_ROWS = 89, 4, 64, 256, 40_000
TASKS = ("click", "like", "long_view")


def main() -> None:
    options = parse_arguments()
    if options.child:
        measure_backend(options)
        return
    records = [r for backend in options.backends for r in records_of(backend, options)]
    print(markdown_table(records))
    if options.out:
        write_records(records, options.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 1000, 4000])
    parser.add_argument(
        "--backends", nargs="+", default=["tensorflow", "jax"], choices=["tensorflow", "jax"]
    )
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each model")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--out", type=Path, help="JSON file for the ratios")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    short = [n for n in options.lengths if n < BEHAVIOURS or n % BEHAVIOURS]
    if short or options.steps < 1 or options.batch < 1:
        parser.error(f"lengths must be multiples of {BEHAVIOURS}, steps and batch 1 or more")
    return options


def records_of(backend: str, options: argparse.Namespace) -> list[dict]:
    """The records of one backend, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "records.json"
        given = ["--child", "--out", out]
        given += ["--steps", options.steps, "--batch", options.batch]
        given += ["--backends", backend, "--lengths", *options.lengths]
        run_child("benchmarks.attention", given, backend)
        return json.loads(out.read_text())


def measure_backend(options: argparse.Namespace) -> None:
    import keras

    from benchmarks.attention_textbook import copy_weights, textbook_model

    (backend,) = options.backends
    records = []
    for length in options.lengths:
        schema = make_schema(length)
        x, y = make_batch(schema, options.batch)
        fast, textbook = fast_model(schema), textbook_model(schema, DIM)
        copy_weights(fast, textbook)
        for model in (fast, textbook):
            optimizer = keras.optimizers.Adam(1e-3)
            model.compile(optimizer, loss="binary_crossentropy", jit_compile=True)
        check_outputs(fast, textbook, x)
        for mode in ("train", "infer"):
            fast_s, textbook_s = interleaved([fast, textbook], mode, x, y, options.steps)
            records.append(
                {"backend": backend, "length": length, "mode": mode, "ratio": textbook_s / fast_s}
            )
            print(
                f"{backend:10} length {length:4} {mode:5} textbook {textbook_s * 1e3:8.1f} ms, "
                f"fast {fast_s * 1e3:8.1f} ms, ratio {textbook_s / fast_s:.2f}",
                file=sys.stderr,
                flush=True,
            )
    write_records(records, options.out)


def make_schema(length: int):
    from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History

    names = [f"field_{i}" for i in range(1, FIELDS)]
    first = CategoricalFeature("video_id", "item")
    others = [CategoricalFeature(name, "user") for name in names]
    histories = [
        History(f"behaviour_{i}", ("video_id",), length // BEHAVIOURS, quantities=())
        for i in range(BEHAVIOURS)
    ]
    schema = FeatureSchema([first, *others], [BinaryTask(t) for t in TASKS], histories)
    sizes = {"video_id": TABLE_ROWS, **dict.fromkeys(names, 100)}
    return schema.with_sizes(sizes, base_rates=dict.fromkeys(TASKS, 0.3))


def fast_model(schema):
    import keras_infnet

    return keras_infnet.INFNet.paper_v1(schema, dim=DIM)


def make_batch(schema, batch: int) -> tuple[dict, dict]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = {}
    for name, (shape, _) in schema.packed_inputs().items():
        high = 100 if name == "categorical" else TABLE_ROWS
        x[name] = rng.integers(1, high, (batch, *shape)).astype("int32")
    for history in schema.histories:
        # A tenth of the positions is padding, on the left.
        x[history.name][:, : history.max_length // 10] = 0
    y = {t: rng.integers(0, 2, (batch, 1)).astype("float32") for t in TASKS}
    return x, y


def check_outputs(fast, textbook, x) -> None:
    import numpy as np

    expected, outputs = textbook.predict_on_batch(x), fast.predict_on_batch(x)
    worst = max(float(np.abs(outputs[t] - expected[t]).max()) for t in TASKS)
    spread = max(float(np.ptp(expected[t])) for t in TASKS)
    if worst > 1e-4 or spread < 1e-3:
        raise SystemExit(f"The models are not comparable: they differ by {worst}, range {spread}.")


def interleaved(models: list, mode: str, x, y, steps: int) -> list[float]:
    """Median seconds of a step of each model; their steps alternate."""
    seconds = [[] for _ in models]
    for step in range(steps + 2):
        for model, found in zip(models, seconds, strict=True):
            start = time.perf_counter()
            if mode == "train":
                model.train_on_batch(x, y)
            else:
                model.predict_on_batch(x)
            if step >= 2:
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in seconds]


def markdown_table(records: list[dict]) -> str:
    lines = [
        f"Textbook seconds / fast seconds, {FIELDS} fields, {BEHAVIOURS} behaviours, width {DIM}:",
        "",
        "| backend | length | training | inference |",
        "|---|---|---|---|",
    ]
    ratios = {(r["backend"], r["length"], r["mode"]): r["ratio"] for r in records}
    for backend, length in dict.fromkeys((r["backend"], r["length"]) for r in records):
        train, infer = (ratios[backend, length, mode] for mode in ("train", "infer"))
        lines.append(f"| {backend} | {length} | {train:.2f} | {infer:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
