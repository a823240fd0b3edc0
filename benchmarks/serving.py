"""Latency of exported models through TensorFlow's C API: `serving_default`, `rank` and `score`.

Requests hold raw features and full histories, so that encoding counts; what a server adds (REST or
gRPC) does not. Weights are random: speed does not depend on them. Requests of the signatures
alternate in one process, so ratios are those of one run. `score` is given the state that
`user_state` made of the user, whose bytes are told.

    python -m benchmarks.serving --models all --threads 2 --out serving.json
"""

import argparse
import dataclasses
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.measuring import write_records
from benchmarks.model_speed import TASKS, full_histories, simulated_log, with_length
from benchmarks.protocol.space import Trial, arguments_of, build_model, check_models

DTYPES = ("float32", "float16", "int8")
SIGNATURES = {
    "pairwise": "serving_default",
    "rank": "rank",
    "user_state": "user_state",
    "score": "score",
}
MIN_REPEATS = 3
USERS, ITEMS = 1_000, 7_000


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is measured: every model, length, table dtype and number of candidates.

    A signature is asked `repeat` times, or less if that takes more than `seconds`, but at least
    `MIN_REPEATS` times. `rows` are those of the simulated log.
    """

    models: Sequence[str]
    candidates: Sequence[int]
    lengths: Sequence[int]
    table_dtypes: Sequence[str]
    state_dtype: str
    repeat: int
    seconds: float
    threads: int
    memory_gb: float
    rows: int


def main() -> None:
    options = parse_arguments()
    records: list[dict[str, Any]] = []
    failed: list[str] = []
    for found in measure(measurement_of(options)):
        if isinstance(found, str):
            failed.append(found)
            continue
        records += found
        if options.out:
            write_records(records, options.out)
    print(markdown_table(records, options.threads))
    if failed:
        sys.exit("Not measured:\n" + "\n".join(failed))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["INFNet", "SharedBottom"])
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--table-dtypes", nargs="+", choices=DTYPES, default=["float32", "int8"])
    parser.add_argument("--state-dtype", choices=DTYPES[:2], default="float32")
    parser.add_argument("--repeat", type=int, default=100, help="requests of a signature, at most")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of requests of a signature; 3 are sent anyway"
    )
    parser.add_argument("--threads", type=int, default=0, help="default: TensorFlow chooses")
    parser.add_argument(
        "--memory-gb", type=float, default=10, help="that this and the C process may take, each"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="of the simulated log")
    parser.add_argument("--out", type=Path, help="JSON file for the records")
    options = parser.parse_args()
    if min(*options.candidates, *options.lengths) < 1 or not 0 <= options.threads <= 127:
        parser.error("candidates and lengths must be 1 or more, threads 0 to 127")
    if options.repeat < 3 or min(options.seconds, options.memory_gb) <= 0:
        parser.error("repeat must be 3 or more, seconds and memory-gb above 0")
    try:
        options.models = check_models(options.models)
    except ValueError as error:
        parser.error(str(error))
    return options


def measurement_of(options: argparse.Namespace) -> Measurement:
    given = vars(options)
    return Measurement(**{name: value for name, value in given.items() if name != "out"})


def markdown_table(records: list[dict[str, Any]], threads: int) -> str:
    """p50 and p99 in ms, the number of requests, ratios of the p50, and the bytes of a state."""
    lines = [
        f"Milliseconds of a request ({threads or 'default'} threads); repeats are pairwise/rank:",
        "",
        "| model | events | tables | candidates | pairwise p50 | p99 | rank p50 | p99 "
        "| repeats | pairwise/rank | rank, candidates a second "
        "| user_state p50 | p99 | score p50 | p99 | rank/score | state, bytes |",
        f"|{'---|' * 17}",
    ]
    number = len(SIGNATURES)
    for start in range(0, len(records), number):
        pairwise, rank, state, score = records[start : start + number]
        cells = [rank["model"], f"{rank['length']:,}", rank["table_dtype"]]
        cells.append(f"{rank['candidates']:,}")
        cells += _milliseconds(pairwise, rank)
        cells.append(f"{pairwise['repeats']}/{rank['repeats']}")
        cells.append(f"{pairwise['p50_ms'] / rank['p50_ms']:.1f}")
        cells.append(f"{rank['candidates_per_second']:,.0f}")
        cells += _milliseconds(state, score)
        cells.append(f"{rank['p50_ms'] / score['p50_ms']:.1f}")
        lines.append(f"| {' | '.join(cells)} | {score['state_bytes']:,} |")
    return "\n".join(lines)


def _milliseconds(*records: dict[str, Any]) -> list[str]:
    return [f"{record[name]:.1f}" for record in records for name in ("p50_ms", "p99_ms")]


def measure(measurement: Measurement) -> Iterator[list[dict[str, Any]] | str]:
    """For each combination a record a signature, or a text that says why there are none."""
    log, schema = simulated_log(measurement.rows, USERS, ITEMS)
    for length in measurement.lengths:
        data = keras_infnet.RankingData(with_length(schema, length), log)
        for name in measurement.models:
            arguments = arguments_of(name, Trial(), len(TASKS))
            model = build_model(name, data.schema, arguments, members=1)
            for table_dtype in measurement.table_dtypes:
                same = {"model": name, "length": length, "table_dtype": table_dtype}
                yield from _measure(measurement, model, data, same)
            keras.backend.clear_session()


def make_requests(
    schema: Any, log: pd.DataFrame, candidates: int
) -> dict[str, dict[str, np.ndarray]]:
    """Requests for one user with full histories and the items of as many rows."""
    user = keras_infnet.data.frame_to_request(schema, full_histories(log, schema, 1))
    drawn = np.random.default_rng(1).integers(0, len(log), candidates)
    without_histories = dataclasses.replace(schema, histories=())
    items = keras_infnet.data.frame_to_request(without_histories, log.iloc[drawn])
    of_items = {f.name for f in schema.features if f.owner == "item"}
    of_items |= {f.weights for f in schema.features if getattr(f, "weights", None)}
    rank = {name: items[name] if name in of_items else v for name, v in user.items()}
    pairs = {
        name: v if name in of_items else np.repeat(v, candidates, axis=0)
        for name, v in rank.items()
    }
    of_user = {name: rank[name] for name in schema.raw_inputs(("user",))}
    return {"pairwise": pairs, "rank": rank, "user_state": of_user}


def alternate(repeats: Mapping[str, int]) -> list[str]:
    """Each name as often as asked for, spread evenly over the list."""
    places = [((i + 0.5) / n, name) for name, n in repeats.items() for i in range(n)]
    return [name for _, name in sorted(places)]


def _measure(
    measurement: Measurement, model: Any, data: keras_infnet.RankingData, same: dict[str, Any]
) -> Iterator[list[dict[str, Any]] | str]:
    what = " ".join(f"{name}={value}" for name, value in same.items())
    with tempfile.TemporaryDirectory() as folder:
        ranker = Path(folder) / "ranker"
        # Without rows to verify on: speed alone is measured.
        given = {"table_dtype": same["table_dtype"], "state_dtype": measurement.state_dtype}
        path = keras_infnet.serving.export(model, data.encoder, ranker, user_state=True, **given)
        for candidates in measurement.candidates:
            requests = make_requests(data.schema, data.frame("train"), candidates)
            try:
                state = _state(measurement, path, requests["user_state"])
                requests["score"] = _score_request(data.schema, requests["rank"], state)
                seconds = _seconds(measurement, path, requests)
            # What a model can't do, such as too many candidates at once, must not stop the others.
            except (MemoryError, OSError, ValueError) as error:
                yield f"{what} candidates={candidates}: {str(error) or 'out of memory'}"
                continue
            records = [
                _record(same, signature, candidates, taken) for signature, taken in seconds.items()
            ]
            records[-1]["state_dtype"] = measurement.state_dtype
            records[-1]["state_bytes"] = sum(values.nbytes for values in state.values())
            p50s = "  ".join(f"{r['signature']} {r['p50_ms']:.1f} ms" for r in records)
            print(f"{what} candidates={candidates}: {p50s}", flush=True)
            yield records


def _state(
    measurement: Measurement, path: Path, request: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    with _memory_limit(measurement.memory_gb):
        (state,), _ = keras_infnet.serving.run_c_api(path, ["user_state"], [request])
    return state


def _score_request(
    schema: Any, rank: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    others = schema.raw_inputs(("context", "item"))
    return {**state, **{name: values for name, values in rank.items() if name in others}}


def _seconds(
    measurement: Measurement, path: Path, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    once = _ask(measurement, path, requests, dict.fromkeys(SIGNATURES, 1))
    repeats = {
        name: int(np.clip(measurement.seconds / taken[0], MIN_REPEATS, measurement.repeat))
        for name, taken in once.items()
    }
    return _ask(measurement, path, requests, repeats)


def _ask(
    measurement: Measurement,
    path: Path,
    requests: Mapping[str, Mapping[str, np.ndarray]],
    repeats: Mapping[str, int],
) -> dict[str, np.ndarray]:
    # The first request of each prepares the graph.
    order = [*SIGNATURES, *alternate(repeats)]
    with _memory_limit(measurement.memory_gb):
        _, seconds = keras_infnet.serving.run_c_api(
            path,
            [SIGNATURES[name] for name in order],
            [requests[name] for name in order],
            intra_threads=measurement.threads,
            inter_threads=measurement.threads,
        )
    timed = np.array(order[len(SIGNATURES) :])
    return {name: seconds[len(SIGNATURES) :, 0][timed == name] for name in SIGNATURES}


@contextmanager
def _memory_limit(gigabytes: float) -> Iterator[None]:
    """This process and those that it starts meanwhile fail rather than take more memory."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _record(
    same: Mapping[str, Any], signature: str, candidates: int, seconds: np.ndarray
) -> dict[str, Any]:
    p50, p99 = 1000 * np.percentile(seconds, [50, 99])
    return {
        "model": same["model"],
        "signature": signature,
        "candidates": candidates,
        "length": same["length"],
        "table_dtype": same["table_dtype"],
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "repeats": len(seconds),
        "candidates_per_second": float(candidates * len(seconds) / seconds.sum()),
    }


if __name__ == "__main__":
    main()
