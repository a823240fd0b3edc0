"""Ranking under load, over loopback: latency, what answered, and whether it was right.

A process of its own serves an exported model by gRPC, as the tests do (TensorFlow Serving itself
is quicker, and no part of this repository). Its capacity is what clients that wait for each answer
get from `rank`. Then requests come at random times, at shares of the capacity and whatever waits,
and each is answered by a `DeadlineRanker`; latency counts from the time at which it came. Every
answer is compared with what Keras gives for what it says it used.

    python -m benchmarks.load --model INFNet --length 1000 --candidates 200 --out load.json
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records
from benchmarks.model_speed import HISTORY, TASKS, full_histories, simulated_log, with_length
from benchmarks.protocol.space import Trial, arguments_of, build_model, check_models

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Request:
    """A user at one of two times, and what Keras gives for his candidates.

    Args:
        key: Number of the user.
        user: Inputs of user, context and histories.
        candidates: Inputs of the items.
        expected: Outputs by what a `DeadlineRanker` may say it used.
    """

    key: int
    user: Mapping[str, np.ndarray]
    candidates: Mapping[str, np.ndarray]
    expected: Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Asked:
    """How a request ended: seconds since it came, what was used ("none": nothing), if right."""

    seconds: float
    used: str
    right: bool


def main() -> None:
    options = parse_arguments()
    if options.serve:
        serve(options.serve, options.workers, options.queue)
        return
    with tempfile.TemporaryDirectory() as folder:
        path, requests = prepare(options, Path(folder))
        with server(path, options.workers, options.queue) as url:
            client = keras_infnet.serving.Client(path, url, timeout=60)
            records = measure(client, requests, options)
            client.close()
    if options.out:
        write_records(records, options.out)
    print(markdown_table(records))
    wrong = sum(record["wrong"] for record in records)
    if wrong:
        sys.exit(f"{wrong} answers differ from Keras's by more than {TOLERANCE:g}.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="INFNet")
    parser.add_argument("--length", type=int, default=1000, help="events of a history")
    parser.add_argument("--candidates", type=int, default=200, help="of a request")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 1, 2], help="of capacity")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--deadline", type=float, default=0, help="seconds; 0: 4 times the median")
    parser.add_argument("--newest", type=int, default=50, help="events of the second way")
    parser.add_argument("--new-events", type=float, default=0.5, help="share of grown histories")
    parser.add_argument("--workers", type=int, default=2, help="requests that the server runs")
    parser.add_argument("--queue", type=int, default=8, help="requests that wait besides")
    parser.add_argument("--rows", type=int, default=5_000, help="of the simulated log")
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    positive = ("length", "candidates", "users", "seconds", "newest", "workers")
    if min(*(getattr(options, name) for name in positive), *options.loads) <= 0:
        parser.error(f"loads and {', '.join(positive)} must be above 0")
    try:
        check_models([options.model])
    except ValueError as error:
        parser.error(str(error))
    return options


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, list[Request]]:
    """An exported model of random weights, and two requests for each user."""
    log, schema = simulated_log(options.rows, 200, 1_000)
    data = keras_infnet.RankingData(with_length(schema, options.length), log)
    model = build_model(
        options.model, data.schema, arguments_of(options.model, Trial(), len(TASKS)), members=1
    )
    path = keras_infnet.serving.export(model, data.encoder, folder / "ranker", user_state=True)
    users = full_histories(log, data.schema, options.users)
    items = log.sample(options.candidates, random_state=1).reset_index(drop=True)
    client = keras_infnet.serving.Client(path)
    of_items = client.schema.raw_inputs(("item",))
    lists = [name for name in users if name.startswith(f"{HISTORY}_")]

    def cut(user: pd.DataFrame, events: slice) -> pd.DataFrame:
        return user.assign(**{name: user[name].map(lambda x: x[events]) for name in lists})

    def by_keras(user: pd.DataFrame) -> dict[str, np.ndarray]:
        columns = [f.name for f in data.schema.features if f.owner == "item"]
        columns += [f.weights for f in data.schema.features if getattr(f, "weights", None)]
        pairs = user.iloc[[0] * len(items)].reset_index(drop=True)
        pairs = pairs.assign(**{name: items[name] for name in columns})
        found = model.predict(data.encoder.transform(pairs), verbose=0)
        return {task: values[:, 0] for task, values in found.items()}

    requests = []
    for key in range(options.users):
        now = users.iloc[[key]]
        times = [now, cut(now, slice(None, -1))]
        whole = [by_keras(user) for user in times]
        for i, user in enumerate(times):
            newest = by_keras(cut(user, slice(-options.newest, None)))
            # A state that is kept, and is no longer up to date, is of the other time.
            expected = {"full": whole[i], f"newest {options.newest}": newest, "state": whole[1 - i]}
            inputs = client.rank_inputs(user, items)
            candidates = {name: inputs.pop(name) for name in of_items if name in inputs}
            requests.append(Request(key, inputs, candidates, expected))
    return path, requests


def measure(
    client: keras_infnet.serving.Client, requests: Sequence[Request], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A record for each load."""
    capacity, median = capacity_of(client, requests, options.workers, options.seconds)
    deadline = options.deadline or 4 * median
    print(f"capacity {capacity:.1f} requests a second, median {1000 * median:.1f} ms", flush=True)
    records = []
    for load in options.loads:
        states = keras_infnet.serving.UserStates(client)
        ranker = keras_infnet.serving.DeadlineRanker(
            states, deadline=deadline, newest=options.newest
        )
        asked = send(ranker, requests, load * capacity, options.seconds, options.new_events)
        same = {"model": options.model, "length": options.length, "load": load}
        same |= {"candidates": options.candidates, "capacity": capacity, "deadline_s": deadline}
        records.append(same | record_of(asked, options.newest))
        print(records[-1], flush=True)
    return records


def capacity_of(
    client: keras_infnet.serving.Client, requests: Sequence[Request], workers: int, seconds: float
) -> tuple[float, float]:
    """Requests a second that `rank` answers to as many clients as work, and the median seconds."""
    taken: list[float] = []

    def ask(until: float, first: int) -> None:
        for number in range(first, 10**9):
            start = time.perf_counter()
            if start > until:
                return
            request = requests[number % len(requests)]
            client.rank(request.user, request.candidates)
            taken.append(time.perf_counter() - start)

    # The first request prepares the graph.
    client.rank(requests[0].user, requests[0].candidates)
    state = client.user_state(requests[0].user)
    client.score(state, requests[0].candidates, requests[0].user)
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(ask, start + seconds, i) for i in range(workers)]:
            done.result()
    return len(taken) / (time.perf_counter() - start), float(np.median(taken))


def send(
    ranker: keras_infnet.serving.DeadlineRanker,
    requests: Sequence[Request],
    rate: float,
    seconds: float,
    new_events: float,
    seed: int = 0,
) -> list[Asked]:
    """Requests at random times, `rate` a second, whether or not others wait.

    Args:
        ranker: What answers.
        requests: Two for each user: all of his history, and without the newest event.
        rate: Requests a second.
        seconds: For how long they come.
        new_events: Share of requests with all of the history.
        seed: Of the times, users and histories.
    """
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(1 / rate, max(1, int(rate * seconds))))
    users = random.integers(len(requests) // 2, size=len(times))
    older = random.random(len(times)) >= new_events
    start, asked, lock = time.perf_counter(), list[Asked](), threading.Lock()

    def ask(came: float, request: Request) -> None:
        try:
            answer = ranker.rank(request.key, request.user, request.candidates)
            used, right = answer.used, is_right(answer, request)
        except TimeoutError:
            used, right = "none", True
        with lock:
            asked.append(Asked(time.perf_counter() - start - came, used, right))

    with ThreadPoolExecutor(64) as pool:
        waiting = []
        for came, user, old in zip(times, users, older, strict=True):
            time.sleep(max(0.0, start + came - time.perf_counter()))
            waiting.append(pool.submit(ask, came, requests[2 * user + old]))
        for done in waiting:
            done.result()
    return asked


def is_right(answer: keras_infnet.serving.Answer, request: Request) -> bool:
    """Whether an answer is Keras's for what it says it used."""
    expected = request.expected[answer.used]
    return all(np.abs(answer.outputs[t] - expected[t]).max() <= TOLERANCE for t in expected)


def record_of(asked: Sequence[Asked], newest: int) -> dict[str, Any]:
    """Latencies of the answers in ms, shares of what was used, and the number of wrong answers."""
    seconds = [one.seconds for one in asked if one.used != "none"]
    p50, p99 = 1000 * np.percentile(seconds, [50, 99]) if seconds else (None, None)
    used = [one.used for one in asked]
    shares = {w: used.count(w) / len(used) for w in ("full", f"newest {newest}", "state", "none")}
    return {
        "requests": len(asked),
        "p50_ms": None if p50 is None else float(p50),
        "p99_ms": None if p99 is None else float(p99),
        "full": shares["full"],
        "newest": shares[f"newest {newest}"],
        "state": shares["state"],
        "shed": shares["none"],
        "wrong": sum(not one.right for one in asked),
    }


def markdown_table(records: Sequence[Mapping[str, Any]]) -> str:
    """A row for each load."""
    lines = [
        "| model | events | candidates | load | requests | p50 ms | p99 ms | full | newest "
        "| state | shed | wrong |",
        f"|{'---|' * 12}",
    ]
    for r in records:
        cells = [r["model"], f"{r['length']:,}", f"{r['candidates']:,}", f"{r['load']:g}"]
        cells.append(f"{r['requests']:,}")
        cells += ["" if r[name] is None else f"{r[name]:.1f}" for name in ("p50_ms", "p99_ms")]
        cells += [f"{r[name]:.1%}" for name in ("full", "newest", "state", "shed")]
        lines.append(f"| {' | '.join(cells)} | {r['wrong']} |")
    return "\n".join(lines)


@contextmanager
def server(path: Path, workers: int, queue: int) -> Iterator[str]:
    """The gRPC URL of a process that serves a SavedModel."""
    command = [sys.executable, "-m", "benchmarks.load", "--serve", str(path)]
    command += ["--workers", str(workers), "--queue", str(queue)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def serve(path: Path, workers: int, queue: int) -> None:
    """Serves until the standard input ends."""
    from tests.serving.prediction_server import serving

    with serving(path, workers=workers, queue=queue) as urls:
        print(urls["grpc"], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
