"""From raw logs to served probabilities: INFNet next to a shared bottom.

Run `python examples/quickstart.py` for a simulated log, whose true probabilities are known, or with
`--data path/to/KuaiRand-Pure` for real ones.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pandas as pd
from demo_report import comparison, metric_table, plot_attention, plot_training, write_report

import keras_infnet

MODELS = {"SharedBottom": keras_infnet.models.SharedBottom, "INFNet": keras_infnet.INFNet}
BATCH_SIZE = 512
CANDIDATES = 100
VERIFIED_ROWS = 1000
SECONDS: dict[str, float] = {}


def main() -> None:
    """Reads the arguments; an expected mistake ends with one line, not with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder in KuaiRand's layout; default: simulate")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the report")
    parser.add_argument("--rows", type=int, default=500_000, help="rows to simulate")
    parser.add_argument("--same-tasks", action="store_true", help="simulate tasks that read alike")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        with finished_folder(args.out) as out:
            demo(args, out)
    except (ValueError, OSError) as error:
        sys.exit(f"make demo: {error}")
    print(f"\nThe report is {args.out / 'report.md'}, with figures beside it.")


def demo(args: argparse.Namespace, out: Path) -> None:
    """The main job, stage by stage."""
    data, frame, warm = load(args, out)
    with stage("encoder"):
        split = data.split(frame)
        encoder = keras_infnet.data.FeatureEncoder(data.schema()).fit(split.train, warm)
        histories = keras_infnet.data.Histories(encoder, frame, warm)
    best = best_possible(data, frame, split, encoder.schema)
    report: dict[str, Any] = {"models": {}, "parameters": {}}
    curves, models = {}, {}
    for name, model_class in MODELS.items():
        keras_infnet.training.set_seeds(args.seed)
        models[name] = model = model_class(encoder.schema)
        with stage(f"fit {name}"):
            curves[name] = fit(model, encoder, histories, split, args.seed)
        with stage(f"evaluate {name}"):
            measured = evaluate(model, encoder, histories, split)
        for part, tasks in measured.items():
            for task, numbers in tasks.items():
                numbers.update(best.get(part, {}).get(task, {}))
        report["models"][name] = measured
        report["parameters"][name] = model.count_params()
    infnet = models["INFNet"]
    with stage("export"):
        checked = histories.attach(split.test.head(VERIFIED_ROWS))
        saved_model = keras_infnet.serving.export(infnet, encoder, out / "saved_model")
        report["served_max_abs_diff"] = keras_infnet.serving.verify(
            saved_model, infnet, encoder, checked
        )
        infnet.save(out / "infnet.keras")
        encoder.save(out / "encoder")
    with stage("serve"):
        report["served"] = serve(encoder, histories, frame, split.test, out)
    report |= {
        "verified_rows": len(checked),
        "data": {"name": f"KuaiRand's layout, {data.found.variant}", "source": source(args)},
        "rows": {part: len(getattr(split, part)) for part in ("train", "validation", "test")},
        "seeds": [args.seed],
        "batch_size": BATCH_SIZE,
        "versions": versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seconds": SECONDS,
    }
    attention = keras_infnet.explain.task_attention(infnet, encoder.transform(checked))
    plot_training(curves, out / "training.png")
    plot_attention(attention, out / "attention.png")
    write_report(report, out)
    print(f"\nTest rows ({len(split.test):,})\n\n{metric_table(report, 'test')}\n")
    print(comparison(report))


def load(args: argparse.Namespace, out: Path) -> tuple[Any, pd.DataFrame, dict[str, pd.DataFrame]]:
    """The data set, its rows, and the events from before its first row by history."""
    path = args.data
    if path is None:
        path = out / "log"
        with stage("simulate"):
            keras_infnet.datasets.simulate(
                path, args.rows, seed=args.seed, same_tasks=args.same_tasks
            )
    with stage("read"):
        data = keras_infnet.datasets.KuaiRand(path)
        print(data.describe())
        frame, warm = data.frame(), data.warm()
    return data, frame, {} if warm is None else {"exposures": warm}


def fit(model: Any, encoder: Any, histories: Any, split: Any, seed: int) -> dict[str, Any]:
    """Trains by the recipe: one epoch, evaluated every half; returns the curves."""
    train = keras_infnet.data.make_dataset(
        encoder, split.train, histories, batch_size=BATCH_SIZE, shuffle=True, seed=seed
    )
    validation = keras_infnet.data.make_dataset(
        encoder, split.validation, histories, batch_size=2048
    )
    steps = StepLosses()
    history = keras_infnet.fit_ranker(model, train, validation, callbacks=[steps]).history
    tasks = encoder.schema.task_names
    return {
        "step": steps.steps,
        "loss": steps.losses,
        "evaluated": steps.evaluated,
        "auc": {task: history[f"val_{task}_auc"] for task in tasks},
    }


class StepLosses(keras.callbacks.Callback):
    """The running loss of every tenth step, and the steps after which there was an evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.steps, self.losses, self.evaluated = 0, [], [], []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.count += 1
        if batch % 10 == 9:
            self.steps.append(self.count)
            self.losses.append(float(logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.evaluated.append(self.count)


def evaluate(model: Any, encoder: Any, histories: Any, split: Any) -> dict[str, Any]:
    """Metrics by split and task; gAUC by user with rolling and with frozen histories."""
    measured = {}
    starts = {"validation": split.validation_start, "test": split.test_start}
    for part, start in starts.items():
        rows = getattr(split, part)
        labels = {task.name: rows[task.label] for task in encoder.schema.tasks}
        users = rows[encoder.schema.user_key]
        rolling = keras_infnet.data.predict_frame(model, encoder, rows, histories)
        frozen = keras_infnet.data.predict_frame(model, encoder, rows, histories, freeze_at=start)
        measured[part] = keras_infnet.metrics.task_metrics(labels, rolling, users)
        for task, numbers in keras_infnet.metrics.task_metrics(labels, frozen, users).items():
            measured[part][task]["gauc_frozen"] = numbers["gauc"]
    return measured


def best_possible(data: Any, frame: pd.DataFrame, split: Any, schema: Any) -> dict[str, Any]:
    """AUC of the true probabilities, and of the best that inputs allow, where they are known."""
    truth = data.truth()
    if truth is None:
        return {}
    best: dict[str, Any] = {}
    for part in ("validation", "test"):
        rows = getattr(split, part)
        known = truth.set_index(frame.index).loc[rows.index]
        best[part] = {
            task.name: {
                "best_auc": keras_infnet.metrics.auc(rows[task.label], known[f"{task.name}_best"]),
                "true_auc": keras_infnet.metrics.auc(rows[task.label], known[f"{task.name}_true"]),
            }
            for task in schema.tasks
        }
    return best


def serve(
    encoder: Any, histories: Any, frame: pd.DataFrame, test: pd.DataFrame, out: Path
) -> dict[str, Any]:
    """Scores candidates of one user in a new process that has no keras_infnet."""
    request_row = histories.attach(test.tail(1))
    items = frame.drop_duplicates("video_id").head(CANDIDATES)
    owned = [f.name for f in encoder.schema.features if f.owner == "item"]
    rows = pd.concat([request_row] * len(items)).assign(**{c: items[c].to_numpy() for c in owned})
    request = keras_infnet.data.frame_to_request(encoder.schema, rows)
    lists = {name: values.tolist() for name, values in request.items()}
    (out / "request.json").write_text(json.dumps(lists), encoding="utf-8")
    script = Path(__file__).with_name("serve_request.py")
    files = [str(out / name) for name in ("saved_model/1", "request.json", "scores.json")]
    done = subprocess.run([sys.executable, str(script), *files], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"the serving process failed:\n{done.stderr[-2000:]}")
    served = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    scores = {task: served[task] for task in encoder.schema.task_names}
    user = int(request_row[encoder.schema.user_key].iloc[0])
    return {"user": user, "candidates": items["video_id"].tolist(), "scores": scores}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Prints and keeps the seconds of a stage."""
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    yield
    SECONDS[name] = round(time.perf_counter() - start, 2)
    print(f"   {SECONDS[name]:.1f} s", flush=True)


@contextmanager
def finished_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of an earlier report when all is done."""
    if out.exists() and not (out / "report.json").is_file() and any(out.iterdir()):
        raise ValueError(f"`{out}` exists and holds no report of the demo; choose another OUT.")
    temporary = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def source(args: argparse.Namespace) -> str:
    """Where the rows come from, in words."""
    if args.data is not None:
        return f"`{args.data.name}`"
    tasks = "tasks that read alike" if args.same_tasks else "tasks that read different things"
    return f"simulated, {args.rows:,} rows, seed {args.seed}, {tasks}"


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"backend": keras.backend.backend(), "python": platform.python_version()}
    for package in ("keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "pandas", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "keras_infnet": keras_infnet.__version__}


if __name__ == "__main__":
    main()
