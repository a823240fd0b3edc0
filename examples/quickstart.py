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
BATCH_SIZE = 256
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
    kuairand, data = load(args, out)
    best = best_possible(kuairand, data)
    report: dict[str, Any] = {"models": {}, "parameters": {}}
    curves, models = {}, {}
    for name, model_class in MODELS.items():
        keras_infnet.training.set_seeds(args.seed)
        models[name] = model = model_class(data.schema)
        with stage(f"fit {name}"):
            curves[name] = fit(model, data)
        with stage(f"evaluate {name}"):
            report["models"][name] = evaluate(model, data, best)
        report["parameters"][name] = model.count_params()
    infnet = models["INFNet"]
    with stage("export"):
        checked = data.attach(data.frame("test").head(VERIFIED_ROWS))
        saved_model = keras_infnet.serving.export(infnet, data, out / "saved_model", checked)
        card = json.loads((saved_model / "assets.extra" / "model_card.json").read_text("utf-8"))
        infnet.save(out / "infnet.keras")
        data.encoder.save(out / "encoder")
    with stage("serve"):
        report["served"] = serve(data, saved_model, out)
    report |= {
        "served_max_abs_diff": card["verified_on"]["largest_difference"],
        "verified_rows": len(checked),
        "data": {"name": f"KuaiRand's layout, {kuairand.found.variant}", "source": source(args)},
        "rows": data.rows,
        "seeds": [args.seed],
        "batch_size": BATCH_SIZE,
        "versions": versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seconds": SECONDS,
    }
    attention = keras_infnet.explain.task_attention(infnet, data.encoder.transform(checked))
    plot_training(curves, out / "training.png")
    plot_attention(attention, out / "attention.png")
    write_report(report, out)
    print(f"\nTest rows ({data.rows['test']:,})\n\n{metric_table(report, 'test')}\n")
    print(comparison(report))


def load(args: argparse.Namespace, out: Path) -> tuple[Any, keras_infnet.RankingData]:
    """The log as it lies on disk, and what models are trained and measured on."""
    path = args.data
    if path is None:
        path = out / "log"
        with stage("simulate"):
            keras_infnet.datasets.simulate(
                path, args.rows, seed=args.seed, same_tasks=args.same_tasks
            )
    with stage("read"):
        kuairand = keras_infnet.datasets.KuaiRand(path)
        print(kuairand.describe())
        log = kuairand.frame()
    with stage("encoder"):
        split = kuairand.split(log)
        data = keras_infnet.RankingData(
            kuairand.schema(),
            log,
            validation=split.validation,
            test=split.test,
            warm=kuairand.warm(),
            batch_size=BATCH_SIZE,
            seed=args.seed,
        )
    return kuairand, data


def fit(model: Any, data: keras_infnet.RankingData) -> dict[str, Any]:
    """Trains by the recipe: one epoch, evaluated every half; returns the curves."""
    steps = StepLosses()
    history = keras_infnet.fit_ranker(model, data, callbacks=[steps]).history
    return {
        "step": steps.steps,
        "loss": steps.losses,
        "evaluated": steps.evaluated,
        "auc": {task: history[f"val_{task}_auc"] for task in data.schema.task_names},
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


def evaluate(
    model: Any, data: keras_infnet.RankingData, best: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    """Metrics by split and task; gAUC by user with rolling and with frozen histories."""
    measured = {}
    for part in ("validation", "test"):
        frozen = data.evaluate(model, part, freeze_at="part")
        table = data.evaluate(model, part).assign(gauc_frozen=frozen["gauc"])
        measured[part] = table.join(best[part]).to_dict("index")
    return measured


def best_possible(kuairand: Any, data: keras_infnet.RankingData) -> dict[str, pd.DataFrame]:
    """AUC of the true probabilities, and of the best that inputs allow, where they are known."""
    truth, best = kuairand.truth(), {}
    for part in ("validation", "test"):
        best[part] = pd.DataFrame(index=data.schema.task_names)
        if truth is None:
            continue
        rows = data.frame(part)
        for kind in ("best", "true"):
            best[part][f"{kind}_auc"] = [
                keras_infnet.metrics.auc(
                    rows[task.label], truth.loc[rows.index, f"{task.name}_{kind}"]
                )
                for task in data.schema.tasks
            ]
    return best


def serve(data: keras_infnet.RankingData, saved_model: Path, out: Path) -> dict[str, Any]:
    """Scores candidates of one user in a new process that has no keras_infnet."""
    user = data.attach(data.frame("test").tail(1))
    items = pd.concat(map(data.frame, data.rows)).sort_index()
    items = items.drop_duplicates("video_id").head(CANDIDATES)
    request = keras_infnet.serving.Client(saved_model).rank_inputs(user, items)
    lists = {name: values.tolist() for name, values in request.items()}
    (out / "request.json").write_text(json.dumps(lists), encoding="utf-8")
    script = Path(__file__).with_name("serve_request.py")
    files = [str(path) for path in (saved_model, out / "request.json", out / "scores.json")]
    done = subprocess.run([sys.executable, str(script), *files], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"the serving process failed:\n{done.stderr[-2000:]}")
    served = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    scores = {task: served[task] for task in data.schema.task_names}
    user_id = int(user[data.schema.user_key].iloc[0])
    return {"user": user_id, "candidates": items["video_id"].tolist(), "scores": scores}


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
