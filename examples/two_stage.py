"""Two stages: two towers retrieve 500 of all items, the exported ranker scores them.

    python examples/two_stage.py --retrieval both --out two_stage.json

TensorFlow Recommenders (`pip install "keras-infnet[tfrs]"`) needs Keras 2 and so a process of its
own; keras-rs retrieves in this one. Both read the batches of one `RankingData`. The ranker is asked
through the signature `rank` of its SavedModel: one user, his history and 500 candidates a request.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
from two_stage_log import CLICK, Log, ranking_data
from two_stage_retrieval import retrieve_with_keras_rs

import keras_infnet

LIBRARIES = ("tfrs", "keras-rs")
TOP_K = 500
AT = (10, 50, 100, TOP_K)


def main() -> None:
    args = parse_arguments()
    libraries = LIBRARIES if args.retrieval == "both" else (args.retrieval,)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        keras_infnet.datasets.simulate(work / "log", args.rows, args.users, args.items, args.seed)
        log = Log(ranking_data(work / "log", args.seed), args.requests, args.seed)
        log.data.save(work / "data")
        start = time.perf_counter()
        saved_model = train_ranker(log, work / "ranker", args)
        report = {**describe(args, log), "ranker_seconds": time.perf_counter() - start}
        for library in libraries:
            start = time.perf_counter()
            found = retrieve(library, log, work, args)
            retrieved = time.perf_counter()
            scores = rank(log, found, saved_model)
            report[library] = {
                **measure(log, found, scores),
                "retrieval_seconds": retrieved - start,
                "milliseconds_a_request": 1000 * (time.perf_counter() - retrieved) / len(found),
            }
    print(summary(report, libraries))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        partial = args.out.with_suffix(args.out.suffix + ".part")
        partial.write_text(json.dumps(report, indent=1) + "\n")
        partial.replace(args.out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retrieval", choices=[*LIBRARIES, "both"], default="both")
    parser.add_argument("--model", default="INFNet", choices=keras_infnet.models.MODELS)
    parser.add_argument("--rows", type=int, default=300_000, help="rows to simulate")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--items", type=int, default=4000)
    parser.add_argument("--requests", type=int, default=2000, help="test impressions to ask")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the two towers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few rows: only that it runs")
    parser.add_argument("--out", type=Path, help="JSON file for the report")
    args = parser.parse_args()
    if args.quick:
        args.model = "SharedBottom"
        args.rows, args.users, args.items = 8000, 300, 800
        args.requests, args.epochs = 60, 2
    return args


def train_ranker(log: Log, folder: Path, args: argparse.Namespace) -> Path:
    """Trains a ranker by the recipe and exports it; the folder of its version."""
    keras_infnet.training.set_seeds(args.seed)
    model = keras_infnet.models.MODELS[args.model](log.schema)
    keras_infnet.fit_ranker(model, log.data, verbose=2)
    return keras_infnet.serving.export(model, log.data, folder)


def retrieve(library: str, log: Log, work: Path, args: argparse.Namespace) -> np.ndarray:
    """Places in `log.items` of the items for each request, `(requests, 500)`, best first."""
    top_k = min(TOP_K, len(log.items))
    if library == "keras-rs":
        return retrieve_with_keras_rs(log, top_k, args.epochs)
    script, out = Path(__file__).with_name("two_stage_retrieval.py"), work / "found.npy"
    command = [sys.executable, str(script), str(work / "data"), str(out)]
    options = {"requests": args.requests, "top_k": top_k, "epochs": args.epochs, "seed": args.seed}
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "KERAS_BACKEND": "tensorflow"}
    if subprocess.run(command, env=environment).returncode != 0:
        sys.exit("two_stage.py: the process of TensorFlow Recommenders failed; see above.")
    return np.load(out)


def rank(log: Log, found: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """Scores by task, `(requests, 1 + 500)`: of the item that was shown, and of those found."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["rank"]
    items = log.schema.raw_inputs(("item",))
    users = log.data.attach(log.requests)
    asked = keras_infnet.data.frame_to_request(log.schema, users)
    stock = keras_infnet.serving.Client(path).rank_inputs(users.head(1), log.items)
    candidates = np.column_stack([log.exposed, found])
    answers = []
    for i, places in enumerate(candidates):
        request = {n: (stock[n][places] if n in items else v[i : i + 1]) for n, v in asked.items()}
        answers.append(serve(**{name: tf.constant(value) for name, value in request.items()}))
    tasks = log.schema.task_names
    return {task: np.stack([answer[task].numpy()[:, 0] for answer in answers]) for task in tasks}


def measure(log: Log, found: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """Recall of clicked items before and after ranking, and AUC of the impressions."""
    hits = found == log.exposed[:, None]
    clicked, retrieved = log.requests[CLICK].to_numpy() == 1, hits.any(axis=1)
    shown, others = scores["click"][:, :1], scores["click"][:, 1:]
    place = np.where(retrieved, (others > shown).sum(axis=1), found.shape[1])
    popular = np.argsort(-log.clicks, kind="stable")
    popular_place = np.argsort(popular)[log.exposed]
    labels = {task.name: log.requests[task.label].to_numpy() for task in log.schema.tasks}
    return {
        "recall": {k: float(hits[clicked, :k].any(axis=1).mean()) for k in AT},
        "recall_ranked": {k: float((place[clicked] < k).mean()) for k in AT},
        "recall_popular": {k: float((popular_place[clicked] < k).mean()) for k in AT},
        "auc": {task: auc(labels[task], scores[task][:, 0]) for task in labels},
        "auc_retrieved": {
            task: auc(labels[task][retrieved], scores[task][retrieved, 0]) for task in labels
        },
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """AUC; none where all labels are equal."""
    return float(keras_infnet.metrics.auc(labels, scores)) if len(np.unique(labels)) == 2 else None


def describe(args: argparse.Namespace, log: Log) -> dict[str, Any]:
    sizes = {"rows": args.rows, "items": len(log.items), "requests": len(log.requests)}
    clicked = int((log.requests[CLICK] == 1).sum())
    return {
        "model": args.model,
        **sizes,
        "clicked_requests": clicked,
        "seed": args.seed,
        "epochs": args.epochs,
    }


def summary(report: dict[str, Any], libraries: tuple[str, ...]) -> str:
    lines = [
        f"{report['requests']:,} requests ({report['clicked_requests']:,} clicked), "
        f"{report['items']:,} items, ranked by {report['model']}, seed {report['seed']}",
        "",
        "| retrieval | order | " + " | ".join(f"recall@{k}" for k in AT) + " |",
        "|---|---|" + "---|" * len(AT),
    ]
    orders = {"by the towers": "recall", "by the ranker": "recall_ranked"}
    first = report[libraries[0]]["recall_popular"]
    rows = [("none", "clicks in training rows", first)]
    for library in libraries:
        rows += [(library, order, report[library][key]) for order, key in orders.items()]
    lines += [f"| {a} | {b} | " + " | ".join(f"{c[k]:.3f}" for k in AT) + " |" for a, b, c in rows]
    lines += ["", "| retrieval | impressions | task | AUC |", "|---|---|---|---|"]
    for library in libraries:
        for which, key in (("all", "auc"), ("retrieved", "auc_retrieved")):
            for task, value in report[library][key].items():
                shown = "none" if value is None else f"{value:.4f}"
                lines.append(f"| {library} | {which} | {task} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
