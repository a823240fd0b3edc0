"""Encoding speed: one million rows of forty fields, by kind of field, as a Markdown table.

python -m benchmarks.encoding --rows 1000000 --out encoding.json
"""

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measuring import write_records
from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, NumericFeature
from keras_infnet.data import FeatureEncoder

KINDS = {
    "integer ids": (12, lambda n: CategoricalFeature(n, "item", dtype="int")),
    "strings": (12, lambda n: CategoricalFeature(n, "user")),
    "hashed ids": (
        2,
        lambda n: CategoricalFeature(n, "item", dtype="int", hash_buckets=10**6),
    ),
    "bags of up to 4": (
        2,
        lambda n: CategoricalFeature(n, "item", max_values=4, separator=","),
    ),
    "quantile buckets": (6, lambda n: NumericFeature(n, "item", buckets=32)),
    "logarithmic buckets": (6, lambda n: NumericFeature(n, "user", 32, "log")),
}


def main() -> None:
    """Measures fit and transform of each kind of field, and of all fields together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    args = parser.parse_args()
    frame, features = make_frame(args.rows, args.seed)
    records = [measure(kind, frame, fs) for kind, fs in features.items()]
    records.append(measure("all", frame, [f for fs in features.values() for f in fs]))
    print(f"\n{args.rows:,} rows, seed {args.seed}, {platform.machine()}, one process\n")
    print("| kind | fields | fit (s) | transform (s) | million values a second |")
    print("|---|---|---|---|---|")
    for r in records:
        rate = args.rows * r["fields"] / r["transform_s"] / 1e6
        seconds = f"{r['fit_s']:.2f} | {r['transform_s']:.2f}"
        print(f"| {r['kind']} | {r['fields']} | {seconds} | {rate:.1f} |")
    if args.out:
        write_records(records, args.out)


def make_frame(rows: int, seed: int) -> tuple[pd.DataFrame, dict[str, list]]:
    """Columns with Zipf-distributed values, and the features that describe them."""
    rng = np.random.default_rng(seed)
    columns, features = {"click": rng.integers(0, 2, rows)}, {}
    for kind, (count, make) in KINDS.items():
        names = [f"{kind} {i}".replace(" ", "_") for i in range(count)]
        features[kind] = [make(name) for name in names]
        for i, name in enumerate(names):
            ids = np.minimum(rng.zipf(1.3, rows), 10 ** (2 + i % 5))
            columns[name] = raw_values(kind, ids, rng)
    return pd.DataFrame(columns), features


def raw_values(kind: str, ids: np.ndarray, rng: np.random.Generator) -> object:
    """The column of a field of this kind whose values are told apart by `ids`."""
    if kind == "strings":
        return pd.Series(ids).astype("str")
    if kind.startswith("bags"):
        text = pd.Series(ids % 1000).astype("str")
        return text + "," + text.sample(frac=1, random_state=1).reset_index(drop=True)
    if kind.endswith("buckets"):
        return ids * rng.random(len(ids))
    return ids


def measure(kind: str, frame: pd.DataFrame, features: list) -> dict[str, object]:
    """Seconds that fit and transform take with these features."""
    print(f"{kind}: {len(features)} fields ...", flush=True)
    encoder = FeatureEncoder(FeatureSchema(features, [BinaryTask("click")]))
    start = time.perf_counter()
    encoder.fit(frame)
    fitted = time.perf_counter()
    encoder.transform(frame)
    done = time.perf_counter()
    return {
        "kind": kind,
        "fields": len(features),
        "rows": len(frame),
        "fit_s": fitted - start,
        "transform_s": done - fitted,
    }


if __name__ == "__main__":
    main()
