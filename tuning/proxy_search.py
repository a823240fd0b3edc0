"""Searches the number of proxies and INFNet's other hyperparameters, and writes a report.

`python tuning/proxy_search.py --quick` simulates a log and takes a minute or two;
`--data path/to/KuaiRand-Pure --budget 30m` searches on a real one. A search that was stopped, even
killed, goes on when the same command is given again.
"""

import argparse
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_infnet

PROGRAM = Path(__file__)
# Whether this process is keras-tuner's chief or one of its workers.
IS_CHILD = "KERASTUNER_ORACLE_IP" in os.environ
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
            args.data = simulated_log(args)
        if args.workers > 1 and not IS_CHILD:
            sys.exit(run_workers(args.workers, args.dir))
        search(args)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        sys.exit(f"proxy_search: {error}")
    except KeyboardInterrupt:
        sys.exit("\nproxy_search: stopped. The same command goes on where this one was.")


def search(args: argparse.Namespace) -> None:
    """Reads the log, searches, and reports after each trial."""
    from report import write_report

    is_gauc = args.objective == "gauc"
    data = ranking_data(args)
    found = keras_infnet.search.ProxySearch(
        data.schema,
        data.train,
        data.validation,
        args.dir,
        space=space(args),
        objective=objective(args),
        groups=data.frame("validation")[data.schema.user_key] if is_gauc else None,
        oracle=args.oracle,
        seeds=args.seeds,
        fixed={"head_dim": 16} if args.quick else None,
        latency_batch=args.latency_batch,
    )
    rows = "{train:,} training and {validation:,} validation rows".format(**data.rows)
    about = {
        "data": f"{args.data.name}: {rows}, whose histories are "
        + ("frozen at their start" if is_gauc else "rolling on"),
        "objective": describe(args),
        "oracle": args.oracle,
        "seeds": " ".join(map(str, args.seeds)),
        "timed batch": f"{args.latency_batch} rows",
    }
    found.run(
        max_trials=args.max_trials or (8 if args.quick else 100),
        budget=args.budget or ("2m" if args.quick else None),
        after_trial=lambda running: write_report(
            running.folder,
            running.trials(),
            about,
            data.schema.task_names,
            "gauc" if is_gauc else "auc",
        ),
    )
    if not IS_CHILD:
        print(f"The report is {args.dir / 'report.html'}.")


def ranking_data(args: argparse.Namespace) -> keras_infnet.RankingData:
    """The data of the log, whose validation is frozen at its start where gAUC is measured."""
    kuairand = keras_infnet.datasets.KuaiRand(args.data)
    log = kuairand.frame()
    split = kuairand.split(log)
    return keras_infnet.RankingData(
        kuairand.schema(),
        log,
        validation=split.validation,
        test=split.test,
        warm=kuairand.warm(),
        freeze_at="part" if args.objective == "gauc" else "never",
        batch_size=args.batch_size,
    )


def simulated_log(args: argparse.Namespace) -> Path:
    """A simulated log beside the folder of the search; it is made once."""
    path = args.dir.with_name(f"{args.dir.name}-log")
    if not args.quick or (IS_CHILD and not path.exists()):
        raise ValueError("give --data DIR, a log in KuaiRand's layout, or --quick.")
    if not path.exists():
        print(f"Simulating {args.rows:,} rows in {path}", flush=True)
        # Few users and videos, so that so few rows teach something of each.
        users, items = max(20, args.rows // 50), max(50, args.rows // 20)
        keras_infnet.datasets.simulate(path, args.rows, users, items)
    return path


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
    # Values of the search space: each option is stored under the name of its field.
    proxies = "numbers of categorical proxies"
    tokens = "numbers of shared task tokens"
    add("--proxies", type=int, nargs="+", dest="num_field_proxies", help=proxies)
    add("--task-tokens", type=int, nargs="+", dest="num_task_proxies", help=tokens)
    add("--blocks", type=int, nargs="+", dest="num_blocks", help="numbers of blocks")
    add("--dims", type=int, nargs="+", dest="dim", help="token widths")
    add("--learning-rates", type=float, nargs="+", dest="learning_rate")
    factors = "of the tables, as multiples"
    add("--table-rate-factors", type=float, nargs="+", dest="table_rate_factor", help=factors)
    add("--dropouts", type=float, nargs="+", dest="dropout")
    add("--forms", nargs="+", dest="form", help="default, paper_v1, paper_v2")
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
    names = [field.name for field in dataclasses.fields(keras_infnet.search.SearchSpace)]
    given = {name: tuple(getattr(args, name)) for name in names if getattr(args, name) is not None}
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


def run_workers(number: int, folder: Path) -> int:
    """Runs this command as keras-tuner's chief and workers over loopback; returns the exit status.

    The chief has the oracle and writes the reports; each worker's output is in a file of the
    folder `{folder}-workers`.
    """
    logs = folder.with_name(f"{folder.name}-workers")
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chief = _start("chief", port, None)
    workers = [_start(f"tuner{i}", port, logs / f"worker-{i}.log") for i in range(number)]
    try:
        while any(worker.poll() is None for worker in workers) and chief.poll() is None:
            time.sleep(0.2)
        codes = [worker.poll() for worker in workers]
        code = _wait(chief)
    finally:
        for process in (chief, *workers):
            if process.poll() is None:
                process.terminate()
                process.wait()
    died = [f"worker {i} with code {c}" for i, c in enumerate(codes) if c not in (0, None)]
    if died:
        print(
            f"proxy_search: {', '.join(died)} ended early; see {logs}. The same command runs what "
            "it was at again.",
            file=sys.stderr,
        )
    if code == 0 and not died:
        print(f"The report is {folder / 'report.html'}.")
    return code or bool(died)


def _wait(chief: subprocess.Popen) -> int:
    """The chief's exit status once its workers have gone, for which it looks every 20 seconds."""
    try:
        return chief.wait(timeout=3)
    except subprocess.TimeoutExpired:
        chief.send_signal(signal.SIGINT)
    try:
        code = chief.wait(timeout=30)
        # Python dies of the signal only past `main`, which catches it: when all is written.
        return 0 if code == -signal.SIGINT else code
    except subprocess.TimeoutExpired:
        # A shell's background job ignores SIGINT, and a chief whose worker died waits for ever.
        chief.terminate()
        return chief.wait()


def _start(tuner_id: str, port: int, log: Path | None) -> subprocess.Popen:
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    environment = {**os.environ, **address, "KERASTUNER_TUNER_ID": tuner_id}
    command = [sys.executable, str(PROGRAM), *sys.argv[1:]]
    if log is None:
        return subprocess.Popen(command, env=environment)
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


if __name__ == "__main__":
    main()
