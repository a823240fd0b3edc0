"""Trains every model by one protocol on the same rows, and compares them.

    python -m benchmarks.accuracy --data DIR --models all --trials 4 --seeds 3 --out runs/accuracy

A stopped command goes on where it stopped; more models, seeds or trials add to what is there.
`--simulate ROWS` takes a simulated log instead of `--data`, whose best possible AUC is known.
"""

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.protocol.ablations import check_changes
from benchmarks.protocol.cost import measure_costs
from benchmarks.protocol.data import HISTORIES, simulated_log
from benchmarks.protocol.description import begin, check_protocol, protocol_of, write_protocol
from benchmarks.protocol.logs import LOGS
from benchmarks.protocol.paired import update_paired
from benchmarks.protocol.plan import ABLATED, Plan
from benchmarks.protocol.plots import draw_plots
from benchmarks.protocol.pool import Job, Pool
from benchmarks.protocol.report import write_report
from benchmarks.protocol.space import check_models, draw_trials
from benchmarks.protocol.store import RunStore, update_numbers
from benchmarks.protocol.tables import Tables, read_table
from benchmarks.protocol.trees import TREES

FULL = {"models": ["all"], "trials": 4, "seeds": 3, "rows": None}
QUICK = {"models": ["INFNet", "SharedBottom"], "trials": 1, "seeds": 2, "rows": 8_000}


def main() -> None:
    """Reads the arguments; an expected mistake ends with one line, not with a traceback."""
    args = parse_arguments()
    try:
        models = models_asked(args)
        with only_command(args.out):
            run(args, models)
    except (ValueError, OSError) as error:
        sys.exit(f"accuracy: {error}")
    except KeyboardInterrupt:
        sys.exit("accuracy: stopped; the same command goes on from here.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder of the log's files")
    add("--log", default="kuairand", choices=list(LOGS), help="what the folder holds")
    add("--simulate", type=int, metavar="ROWS", help="rows of a simulated log")
    add("--same-tasks", action="store_true", help="simulate tasks that read alike")
    add("--models", nargs="+", help="names, `all`, and `ablation`; default: all")
    add("--ablations", nargs="+", default=[], help="`ablation`, but only these changes")
    add("--tasks", nargs="+", help="default: all of the log")
    add("--histories", nargs="+", default=["exposures"], choices=HISTORIES)
    add("--members", nargs="+", type=int, default=[1], help="networks on shared tables")
    add("--trials", type=int, help="configurations tried for each model; default: 4")
    add("--configured", nargs="+", default=[], help="models that are not tuned")
    add("--by", type=Path, help="results whose chosen configurations they take")
    add("--seeds", type=int, help="runs of the chosen configuration; default: 3")
    add("--epochs", type=int, default=1)
    add("--out", type=Path, default=Path("runs/accuracy"), help="folder of the runs")
    add("--results", type=Path, help="further folder for tables, report and plots")
    add("--workers", type=int, default=1, help="processes, on equal shares of the cores")
    add("--limit-minutes", type=float, help="begin no run after this time")
    add("--alone", action="store_true", help="train each task alone too")
    add("--cost", action="store_true", help="measure time and size; nothing else must run")
    add("--report", action="store_true", help="only rewrite report and plots, from the tables")
    add("--retry", action="store_true", help="try failed runs again")
    add("--again", nargs="+", default=[], help="models to repeat whose runs' folders are gone")
    add("--quick", action="store_true", help="two models on a small simulated log")
    args = parser.parse_args()
    default = QUICK if args.quick else FULL
    args.models = args.models or default["models"]
    args.tasks = args.tasks or list(LOGS[args.log].tasks)
    args.trials = default["trials"] if args.trials is None else args.trials
    args.seeds = default["seeds"] if args.seeds is None else args.seeds
    if args.data is None and args.simulate is None:
        args.simulate = default["rows"]
    check_numbers(parser, args)
    return args


def check_numbers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the command with the parser's usage if a number makes no sense."""
    sources = (args.data is not None) + (args.simulate is not None)
    if args.simulate is not None and not args.log.startswith("kuairand"):
        parser.error(f"--simulate makes a log in KuaiRand's layout, not --log {args.log}")
    if sources == 2 or (sources == 0 and not args.report):
        parser.error("give either --data DIR or --simulate ROWS")
    for name in ("seeds", "epochs", "workers"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be 1 or more, not {getattr(args, name)}")
    if args.limit_minutes is not None and args.limit_minutes < 0:
        parser.error(f"--limit-minutes must be 0 or more, not {args.limit_minutes:g}")
    if min(args.members) < 1:
        parser.error(f"--members must be 1 or more, not {min(args.members)}")


def models_asked(args: argparse.Namespace) -> list[str]:
    """Names of the models; an unknown one is an error before anything is made."""
    draw_trials(args.trials)
    check_changes(args.ablations, args.log)
    if args.ablations and "ablation" not in args.models:
        args.models = [*args.models, "ablation"]
    models = check_models([name for name in args.models if name != "ablation"])
    check_again(args, models)
    return [*models, *([ABLATED] if "ablation" in args.models and ABLATED not in models else [])]


def check_again(args: argparse.Namespace, models: list[str]) -> None:
    """An error if runs would be forgotten that this command does not train."""
    left_out = [name for name in check_models(args.again) if name not in models]
    if left_out:
        raise ValueError(f"--again {' '.join(left_out)}: expected models that --models names.")
    if args.again and args.report:
        raise ValueError("--again with --report, which trains nothing. Leave out one of them.")


def run(args: argparse.Namespace, models: list[str]) -> None:
    """The command's stages."""
    folders = [args.out, *([args.results] if args.results else [])]
    tables = Tables(folders)
    path, protocol = open_protocol(args, folders, tables)
    if args.report:
        write_reports(folders, tables, protocol)
        return
    store = RunStore(args.out, tables)
    if args.retry:
        store.retry_failed()
    if args.again:
        gone = store.train_again(check_models(args.again), args.members)
        print(f"--again: {gone} reported runs whose folders are gone are repeated.", flush=True)
    plan = Plan(
        models=tuple(models),
        histories=tuple(dict.fromkeys(args.histories)),
        members=tuple(sorted(set(args.members))),
        trials=args.trials,
        seeds=args.seeds,
        tasks=tuple(protocol["tasks"]),
        data=protocol["data"],
        log=protocol["log"],
        epochs=protocol["epochs"],
        alone=args.alone,
        ablations="ablation" in args.models,
        changes=tuple(args.ablations),
        given=given_configurations(args),
    )
    left = train_all(plan, store, Pool(args.workers, path, store.runs), args.limit_minutes)
    if args.cost:
        measure_costs(tables, path, cost_settings(plan, store))
    update_numbers(store, plan)
    update_paired(tables, plan, store.records, store.runs)
    write_reports(folders, tables, protocol)
    if left:
        print(f"{left} runs are left; the same command goes on with them.")


def given_configurations(args: argparse.Namespace) -> dict[str, tuple[dict[str, Any], float]]:
    """Arguments and learning rate that other results chose, of the models that are not tuned."""
    names = check_models(args.configured)
    if bool(names) != (args.by is not None):
        raise ValueError("--configured and --by belong together: models, and the results' folder.")
    if not names:
        return {}
    rows = read_table(args.by / "runs.csv")
    rows = rows[rows["chosen"].astype("str") == "True"].drop_duplicates("model").set_index("model")
    if missing := [name for name in names if name not in rows.index]:
        raise ValueError(f"--by {args.by}: no configuration was chosen of {', '.join(missing)}.")
    return {
        name: (json.loads(rows.loc[name, "arguments"]), float(rows.loc[name, "learning_rate"]))
        for name in names
    }


def open_protocol(
    args: argparse.Namespace, folders: list[Path], tables: Tables
) -> tuple[Path | None, dict[str, Any]]:
    """The log's folder and the protocol; a report alone needs no log."""
    if args.data is None and args.simulate is None:
        found = check_protocol(folders, {})
        if found is None:
            raise ValueError(f"{args.out} holds no runs to report on.")
        check_protocol(folders, found)
        write_protocol(folders, found, tables)
        return None, found
    source = source_text(args)
    check_protocol(folders, {"source": source, "log": args.log})
    path = args.data or simulated_log(args.out, args.simulate, args.same_tasks)
    protocol = protocol_of(path, source, args.tasks, args.epochs, args.log)
    return path, begin(folders, protocol, path, tables)


def source_text(args: argparse.Namespace) -> str:
    """Where the rows come from, in words."""
    if args.data is not None:
        return args.data.resolve().name
    tasks = "tasks that read alike" if args.same_tasks else "tasks that read different things"
    return f"simulated, {args.simulate:,} rows, {tasks}"


def train_all(plan: Plan, store: RunStore, pool: Pool, limit_minutes: float | None) -> int:
    """Does the plan's jobs; returns the number of trainings left."""
    update_numbers(store, plan)
    deadline = None if limit_minutes is None else time.monotonic() + 60 * limit_minutes
    start, total, seconds = time.monotonic(), plan.count(store.records), []

    def next_job(in_work: list[Any]) -> Job | None:
        busy = {config.name for config in in_work}
        return next((j for j in plan.jobs(store.records) if j.config.name not in busy), None)

    def done(job: Job, answer: dict[str, Any]) -> None:
        store.finish(job, answer)
        update_numbers(store, plan)
        left = plan.count(store.records)
        if "failed" in answer:
            print(f"{job.config.name}: {job.kind} failed: {answer['failed']}", flush=True)
        elif job.kind == "train":
            seconds.append(answer["seconds"])
            minutes = (time.monotonic() - start) / len(seconds) * left / 60
            print(
                f"[{total - left}/{total}] {job.config.name}: {answer['seconds']:.0f} s, mean "
                f"validation AUC {store.records[job.config.name]['mean_auc']:.4f}; {left} left, "
                f"about {minutes:.0f} min",
                flush=True,
            )

    pool.work(next_job, done, deadline)
    return plan.count(store.records)


def cost_settings(plan: Plan, store: RunStore) -> dict[tuple[str, str], Any]:
    """Each model's default and, where it differs, its chosen configuration."""
    settings, histories = {}, plan.histories[0]
    for model in (name for name in plan.models if name not in TREES):
        default = plan.trial_runs(model, histories)[0]
        settings[model, "default"] = default
        chosen = plan.chosen(model, histories, store.records)
        if chosen is not None and chosen.arguments != default.arguments:
            settings[model, "chosen"] = chosen
    return settings


def write_reports(folders: list[Path], tables: Tables, protocol: dict[str, Any]) -> None:
    """Report and plots, from the tables alone."""
    for folder in folders:
        plots = draw_plots(tables, folder)
        write_report(tables, protocol, plots, folder)
    print(f"The report is {folders[-1] / 'results.md'}.")


@contextmanager
def only_command(out: Path) -> Iterator[None]:
    """Holds the folder, so that two commands don't write into it at once."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{out} is in use by another command.") from None
        yield


if __name__ == "__main__":
    main()
