"""Searches the number of proxies and INFNet's other hyperparameters, and writes a report.

`python tuning/proxy_search.py --quick` simulates a log and takes a minute or two;
`--data path/to/KuaiRand-Pure --budget 30m` searches on a real one. A search that was stopped, even
killed, goes on when the same command is given again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from proxy_search_data import read_data, simulated_log
from proxy_search_workers import is_child, run_workers

import keras_infnet

QUICK_SPACE = {
    "num_field_proxies": (1, 2, 4, 8),
    "num_task_proxies": (1, 2),
    "num_blocks": (1,),
    "dim": (8,),
    "learning_rate": (5e-3, 1e-2),
    "dropout": (0.0,),
}
FAST_COMPILING = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)
PAIR = "TASK=NUMBER"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command; an expected mistake ends with one line, not with a traceback."""
    args = parser().parse_args(argv)
    if args.quick:
        # On so few rows compiling takes longer than training.
        os.environ.setdefault("XLA_FLAGS", FAST_COMPILING)
    try:
        if args.data is None:
            if not args.quick:
                raise ValueError("give --data DIR, a log in KuaiRand's layout, or --quick.")
            args.data = simulated_log(args.dir, args.rows, print_it=not is_child())
        if args.workers > 1 and not is_child():
            sys.exit(run_workers(args.workers, args.dir))
        search(args)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f"proxy_search: {error}")
    except KeyboardInterrupt:
        sys.exit("\nproxy_search: stopped. The same command goes on where this one was.")


def search(args: argparse.Namespace) -> None:
    """Reads the log, searches, and reports after each trial."""
    from proxy_search_report import write_report

    data = read_data(args.data, args.batch_size, freeze=args.objective == "gauc")
    found = keras_infnet.search.ProxySearch(
        data.schema,
        data.train,
        data.validation,
        args.dir,
        space=space(args),
        objective=objective(args),
        groups=data.users if args.objective == "gauc" else None,
        oracle=args.oracle,
        seeds=args.seeds,
        fixed={"head_dim": 16} if args.quick else None,
        latency_batch=args.latency_batch,
    )
    about = {
        "data": f"{data.description}, whose histories are {data.histories}",
        "objective": describe(args),
        "oracle": args.oracle,
        "seeds": " ".join(map(str, args.seeds)),
        "timed batch": f"{args.latency_batch} rows",
        "metric": args.objective if args.objective == "gauc" else "auc",
        "tasks": data.schema.task_names,
    }
    found.run(
        max_trials=args.max_trials or (8 if args.quick else 100),
        budget=args.budget or ("2m" if args.quick else None),
        after_trial=lambda running: write_report(running.folder, running.trials(), about),
    )
    if not is_child():
        print(f"The report is {args.dir / 'report.html'}.")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = options.add_argument
    add("--data", type=Path, help="folder in KuaiRand's layout")
    add("--dir", type=Path, default=Path("runs/search"), help="folder of the search")
    add("--quick", action="store_true", help="simulated log, small space, a minute or two")
    add("--rows", type=int, default=6000, help="rows to simulate with --quick")
    add("--budget", help="time for the whole search: 90s, 30m, 2h; default: none, with --quick 2m")
    add("--max-trials", type=int, help="default: 100, with --quick 8")
    add("--oracle", choices=("random", "bayesian", "hyperband"), default="random")
    add("--objective", choices=("auc", "gauc", "latency"), default="auc")
    add("--weights", type=pair, nargs="+", metavar=PAIR, help="weight of each task; default: 1")
    add("--floors", type=pair, nargs="+", metavar=PAIR, help="worst acceptable value of a task")
    add("--price", type=float, default=0.001, help="AUC for half the time, of --objective latency")
    add("--seeds", type=int, nargs="+", default=[0], help="seeds that each trial trains with")
    add("--workers", type=int, default=1, help="processes that share the search")
    add("--batch-size", type=int, default=512)
    add("--latency-batch", type=int, default=256, help="rows of the batch that is timed")
    add("--proxies", type=int, nargs="+", help="numbers of categorical proxies")
    add("--task-tokens", type=int, nargs="+", help="numbers of shared task tokens")
    add("--blocks", type=int, nargs="+", help="numbers of blocks")
    add("--dims", type=int, nargs="+", help="token widths")
    add("--learning-rates", type=float, nargs="+")
    add("--table-rate-factors", type=float, nargs="+", help="of the tables, as multiples")
    add("--dropouts", type=float, nargs="+")
    add("--forms", nargs="+", help="default, paper_v1, paper_v2")
    return options


def pair(text: str) -> tuple[str, float]:
    """`like=0.7` as a name and a number."""
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {PAIR}, such as like=0.7") from error


def space(args: argparse.Namespace) -> keras_infnet.search.SearchSpace:
    """The search space of the options."""
    given = {
        "num_field_proxies": args.proxies,
        "num_task_proxies": args.task_tokens,
        "num_blocks": args.blocks,
        "dim": args.dims,
        "learning_rate": args.learning_rates,
        "table_rate_factor": args.table_rate_factors,
        "dropout": args.dropouts,
        "form": args.forms,
    }
    given = {name: tuple(values) for name, values in given.items() if values is not None}
    return keras_infnet.search.SearchSpace(**{**(QUICK_SPACE if args.quick else {}), **given})


def objective(args: argparse.Namespace) -> Any:
    """The policy of the options."""
    metric = "gauc" if args.objective == "gauc" else "auc"
    weights, floors = (dict(pairs) if pairs else None for pairs in (args.weights, args.floors))
    policy = keras_infnet.training.TaskPolicy(metric, weights, floors)
    if args.objective == "latency":
        return keras_infnet.search.LatencyTradeoff(policy, args.price)
    return policy


def describe(args: argparse.Namespace) -> str:
    """The objective in words."""
    metric = "gAUC" if args.objective == "gauc" else "AUC"
    text = f"mean {metric} of the tasks"
    if args.weights:
        text = f"{metric} weighted " + ", ".join(f"{t} {w:g}" for t, w in args.weights)
    if args.floors:
        text += ", floors " + ", ".join(f"{task} {floor:g}" for task, floor in args.floors)
    if args.objective == "latency":
        text += f", less {args.price:g} for each doubling of the inference time"
    return text


if __name__ == "__main__":
    main()
