"""Six ways to have a model for the next day: AUC of each day before it is trained on, and seconds.

    python -m benchmarks.daily --log kuairand --data path/to/KuaiRand-Pure --out daily.json
    python -m benchmarks.daily --simulate --out daily_simulated.json --plot daily_simulated.png

Every strategy begins with a model of the first days. Then each day is scored by the model of all
days before it, and becomes a day of the next model's:

- frozen: the first model, with histories that go on;
- continued: the first encoder; the model goes on with the day's rows;
- grown: encoder and model get the day's new ids, then as continued;
- hashed: hashed ids, then as continued;
- retrained, retrained-5: encoder and model anew, on all days so far, on the last five.

Rows are `"new"` where a user or a video has no id in an encoder of the first days, and `"unseen"`
where it has none in an encoder of all rows before the day, so that no model was trained on it: the
same rows for all strategies. Seconds are those that made the model that scored the day, compiling,
encoding and writing included, its scoring not; the table has those of all cores (`cpu_seconds`),
which other work on the machine changes little. With `--out`, a command that was stopped goes on
after the last day that it wrote.
"""

import argparse
import contextlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.daily_logs import DailyLog, read_days, simulate_days
from benchmarks.measuring import write_records
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.metrics import auc
from keras_infnet.models import MODELS

# How many of the last days each strategy that begins anew trains on; `None`: all.
ANEW: dict[str, int | None] = {"retrained": None, "retrained-5": 5}
STRATEGIES = ("frozen", "continued", "grown", "hashed", *ANEW)
REFERENCE = "retrained"
KINDS = {"all": "all rows", "new": "rows with new ids", "unseen": "rows with unseen ids"}
SETTINGS = ("model", "arguments", "first_days", "epochs", "learning_rate", "next_learning_rate")
SETTINGS += ("batch_size", "start", "no_jit", "seed")
QUICK = {"simulate": True, "rows": 2000, "days": 7, "first_days": 4}
QUICK |= {"arguments": {"dim": 8}, "batch_size": 128, "no_jit": True}
_SCORING_BATCH = 4096


@dataclass(frozen=True)
class Trained:
    """A model with its encoder, and the histories of all days that it may know."""

    encoder: FeatureEncoder
    model: Any
    histories: Histories

    def save(self, folder: Path) -> None:
        """Writes a folder, whole or not at all."""
        partial = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.encoder.save(partial / "encoder")
        self.model.save(partial / "model.keras")
        self.histories.save(partial / "histories")
        partial.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> "Trained":
        encoder = FeatureEncoder.load(folder / "encoder")
        histories = Histories.load(folder / "histories", encoder)
        return cls(encoder, keras.models.load_model(folder / "model.keras"), histories)


def main() -> None:
    """Runs the strategies, prints the table, and draws the plot."""
    args = parse_arguments()
    log = open_days(args)
    with state_folder(args, log) as folder:
        records = read_records(args.out)
        for strategy in args.strategies:
            for found in run_strategy(strategy, log, records, folder / strategy, args):
                records = [*records, *found]
                if args.out:
                    write_records(records, args.out)
    records = [r for r in records if r["strategy"] in args.strategies]
    backend = keras.backend.backend()
    print(f"\n{args.model} on {log.name}, {len(log.frames)} days, {backend}\n")
    print(markdown_table(records))
    if args.plot:
        draw(records, args.plot)


def parse_arguments() -> argparse.Namespace:
    """Arguments of the run; those of `--quick` are in its place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder in KuaiRand's layout")
    source.add_argument("--simulate", action="store_true", help="days with churn of ids")
    source.add_argument("--quick", action="store_true", help=f"a small run: {QUICK}")
    parser.add_argument("--log", choices=["kuairand", "kuairand-cold"], default="kuairand")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of a simulated day")
    parser.add_argument("--days", type=int, help="days; default: all of a log, 10 simulated")
    parser.add_argument("--first-days", type=int, default=2, help="days of the first model")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--model", choices=MODELS, default="INFNet")
    parser.add_argument("--arguments", type=json.loads, default={}, help="of the model, as JSON")
    parser.add_argument("--epochs", type=int, default=1, help="passes of a model that begins anew")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="falls to 0")
    parser.add_argument(
        "--next-learning-rate", type=float, default=1e-3, help="of one that goes on"
    )
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--start", default="unknown", help="of new rows: as in `model.grow`")
    parser.add_argument("--no-jit", action="store_true", help="steps that XLA does not compile")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    parser.add_argument("--plot", type=Path, help="draw AUC by day as PNG")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    if args.first_days < 1 or (args.days or args.first_days + 1) <= args.first_days:
        parser.error("--first-days must be 1 or more, and --days more than that")
    return args


def open_days(args: argparse.Namespace) -> DailyLog:
    if args.simulate:
        return simulate_days(args.rows, args.days or 10, args.seed)
    return read_days(args.log, args.data, args.first_days, args.days)


@contextlib.contextmanager
def state_folder(args: argparse.Namespace, log: DailyLog) -> Iterator[Path]:
    """Where models lie between days: beside the records, or in a folder that goes."""
    if args.out is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    folder = args.out.with_suffix(".state")
    settings = {name: getattr(args, name) for name in SETTINGS}
    settings |= {"data": log.name, "backend": keras.backend.backend()}
    settings["rows"] = {day: len(rows) for day, rows in log.frames.items()}
    written = folder / "settings.json"
    if written.exists():
        before = json.loads(written.read_text())
        changed = [name for name in settings if before.get(name) != settings[name]]
        if changed:
            raise ValueError(
                f"{args.out} was begun with other settings: {', '.join(changed)}. Give them again, "
                f"or another --out, or delete {args.out} and {folder}."
            )
    elif args.out.exists():
        raise ValueError(f"{args.out} exists without {folder}, which tells what it is of.")
    folder.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(settings, indent=1))
    yield folder


def read_records(out: Path | None) -> list[dict[str, Any]]:
    return json.loads(out.read_text()) if out is not None and out.exists() else []


def run_strategy(
    strategy: str,
    log: DailyLog,
    records: list[dict[str, Any]],
    folder: Path,
    args: argparse.Namespace,
) -> Iterator[list[dict[str, Any]]]:
    """The records of each day that has none yet.

    Args:
        strategy: Name of the strategy.
        log: The days.
        records: Those of days that are done.
        folder: Folder of the models between days; one is gone when that of the next day is asked
            for, so that records are written before.
        args: Arguments of the run.
    """
    # Before ids are hashed, of which none is new.
    kinds, days = log.rows_by_kind(args.first_days), list(log.frames)
    log = log.hashed() if strategy == "hashed" else log
    done = {r["day"] for r in records if r["strategy"] == strategy}
    trained, before = None, None
    for number in range(args.first_days, len(days)):
        here = folder / days[number]
        if days[number] in done:
            before = here
            continue
        if before is not None and trained is None and strategy not in ANEW:
            trained = Trained.load(before)
        start, cpu_start = time.perf_counter(), time.process_time()
        shutil.rmtree(here, ignore_errors=True)
        trained = next_model(strategy, log, trained, before, number, args)
        trained.save(here)
        taken = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu_start,
        }
        rows = log.frames[days[number]]
        scores = predict(trained, rows)
        same = {"data": log.name, "strategy": strategy, "day": days[number]}
        print(f"{strategy}, {days[number]}: {taken['seconds']:.1f} s", flush=True)
        yield [
            {**same, "rows": kind, "task": task.name, "auc": area, **taken}
            for kind, of_kind in kinds.items()
            for chosen in [of_kind[days[number]]]
            for task in log.schema.tasks
            for area in [area_of(rows[task.label][chosen], scores[task.name][chosen])]
        ]
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        before = here


def next_model(
    strategy: str,
    log: DailyLog,
    trained: Trained | None,
    folder: Path | None,
    number: int,
    args: argparse.Namespace,
) -> Trained:
    """The model that scores a day.

    Args:
        strategy: Name of the strategy.
        log: The days.
        trained: The model that scored the day before; `None` for the first one.
        folder: Where that lies.
        number: Which day is scored.
        args: Arguments of the run.
    """
    past = list(log.frames.values())[:number]
    if trained is None or folder is None or strategy in ANEW:
        keras.utils.clear_session()
        keras_infnet.training.set_seeds(args.seed + number)
        return model_anew(log, past, ANEW.get(strategy), args)
    keras_infnet.training.set_seeds(args.seed + number)
    encoder, model, rows = trained.encoder, trained.model, past[-1]
    if strategy == "grown":
        encoder = encoder.extend(rows)
        read = rows if args.start.startswith("like:") else None
        model = model.grow(encoder, start=args.start, rows=read, seed=args.seed + number)
    histories = Histories.load(folder / "histories", encoder).append(rows)
    if strategy != "frozen":
        batches = shuffled(encoder, rows, histories, args.seed + number, args)
        keras_infnet.fit_ranker(
            model,
            batches,
            continue_training=True,
            learning_rate=args.next_learning_rate,
            verbose=0,
        )
    return Trained(encoder, model, histories)


def model_anew(
    log: DailyLog, past: list[pd.DataFrame], newest: int | None, args: argparse.Namespace
) -> Trained:
    """A model of the newest days, whose histories reach over all of them."""
    everything = pd.concat(past, ignore_index=True)
    rows = everything if newest is None else everything.iloc[-sum(map(len, past[-newest:])) :]
    # Events from before the log are long ago where its older days are left out.
    events = log.earlier if len(rows) == len(everything) else None
    encoder = FeatureEncoder(log.schema).fit(rows, events)
    histories = Histories(encoder, everything, log.earlier)
    model = MODELS[args.model](encoder.schema, **args.arguments)
    keras_infnet.fit_ranker(
        model,
        shuffled(encoder, rows, histories, args.seed + len(past), args),
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        jit_compile=False if args.no_jit else None,
        verbose=0,
    )
    return Trained(encoder, model, histories)


def shuffled(
    encoder: FeatureEncoder,
    rows: pd.DataFrame,
    histories: Histories,
    seed: int,
    args: argparse.Namespace,
) -> Batches:
    """Training batches without the last, smaller one, for which a step would be compiled again."""
    size = args.batch_size
    whole = len(rows) >= size
    given: dict[str, Any] = {"batch_size": size, "seed": seed, "drop_remainder": whole}
    return Batches.from_rows(encoder, rows, histories, shuffle=True, **given)


def predict(trained: Trained, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Probabilities of a day's rows by task; histories reach up to each row."""
    histories = trained.histories.append(rows)
    batches = Batches.from_rows(
        trained.encoder, rows, histories, labels=False, batch_size=_SCORING_BATCH
    )
    predicted = trained.model.predict(batches, verbose=0)
    return {task: np.asarray(found)[:, 0] for task, found in predicted.items()}


def area_of(labels: pd.Series, scores: np.ndarray) -> float | None:
    """AUC; `None` without rows of both classes."""
    return float(auc(labels.to_numpy(), scores)) if labels.nunique() == 2 else None


def kinds_of(records: list[dict[str, Any]]) -> list[str]:
    """Kinds of rows that the records are of."""
    return [kind for kind in KINDS if any(r["rows"] == kind for r in records)]


def by_day(records: list[dict[str, Any]], rows: str) -> pd.DataFrame:
    """Mean AUC of the tasks, where all of them have one: a row a day, a column a strategy."""
    frame = pd.DataFrame(records)
    frame = frame[frame["rows"] == rows].astype({"auc": "float64"})
    keys = [frame["day"], frame["strategy"]]
    means = frame["auc"].groupby(keys).agg(lambda found: found.mean(skipna=False)).unstack()
    return means[[strategy for strategy in STRATEGIES if strategy in means]]


def markdown_table(records: list[dict[str, Any]]) -> str:
    """Means over days, their differences to the reference with paired errors, and CPU seconds."""
    kinds = kinds_of(records)
    heads = [head for kind in kinds for head in (f"AUC, {KINDS[kind]}", f"less {REFERENCE}")]
    heads += ["CPU seconds, all days", "relative", "CPU seconds, last day", "relative"]
    lines = [f"| strategy | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    tables = [by_day(records, kind) for kind in kinds]
    days = pd.DataFrame(records).groupby(["strategy", "day"])
    seconds = days["cpu_seconds"].first().unstack()
    for strategy in tables[0]:
        cells = []
        for table in tables:
            cells += [f"{table[strategy].mean():.4f}", _difference(table, strategy)]
        for of in (seconds.sum(axis=1), seconds.iloc[:, -1]):
            share = of[strategy] / of[REFERENCE] if REFERENCE in of else math.nan
            cells += [f"{of[strategy]:.1f}", f"{share:.2f}"]
        lines.append(f"| {' | '.join((strategy, *cells))} |")
    return "\n".join(lines)


def _difference(table: pd.DataFrame, strategy: str) -> str:
    """Mean over days of the difference to the reference, with its standard error."""
    if strategy == REFERENCE or REFERENCE not in table:
        return ""
    differences = (table[strategy] - table[REFERENCE]).dropna()
    return f"{differences.mean():+.4f} ± {differences.sem():.4f}"


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Mean AUC of the tasks by day, a panel a kind of rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = kinds_of(records)
    size = (5.5 * len(kinds), 4.5)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, layout="constrained")
    for axis, kind in zip(axes, kinds, strict=True):
        table = by_day(records, kind)
        for strategy in table:
            axis.plot(table.index, table[strategy], marker="o", markersize=3, label=strategy)
        axis.set_title(KINDS[kind])
        axis.set_ylabel("mean AUC of the tasks")
        axis.tick_params("x", labelrotation=45)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
