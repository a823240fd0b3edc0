"""Times of requests to exported models: pairs of user and candidate, and `rank`."""

import dataclasses
import resource
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from model_speed import TASKS, full_histories, simulated_log, with_length
from protocol.space import Trial, arguments_of, build_model

import keras_infnet

SIGNATURES = {"pairwise": "serving_default", "rank": "rank"}
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
    repeat: int
    seconds: float
    threads: int
    memory_gb: float
    rows: int


def measure(measurement: Measurement) -> Iterator[list[dict[str, Any]] | str]:
    """For each combination its two records, or a text that says why there are none."""
    log, schema = simulated_log(measurement.rows, USERS, ITEMS)
    for length in measurement.lengths:
        encoder = keras_infnet.data.FeatureEncoder(with_length(schema, length)).fit(log)
        for name in measurement.models:
            arguments = arguments_of(name, Trial(), len(TASKS))
            model = build_model(name, encoder.schema, arguments, members=1)
            for table_dtype in measurement.table_dtypes:
                same = {"model": name, "length": length, "table_dtype": table_dtype}
                yield from _measure(measurement, model, encoder, log, same)
            keras.backend.clear_session()


def make_requests(
    encoder: Any, log: pd.DataFrame, candidates: int
) -> dict[str, dict[str, np.ndarray]]:
    """Requests for one user with full histories and the items of as many rows."""
    schema = encoder.schema
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
    return {"pairwise": pairs, "rank": rank}


def alternate(repeats: Mapping[str, int]) -> list[str]:
    """Each name as often as asked for, spread evenly over the list."""
    places = [((i + 0.5) / n, name) for name, n in repeats.items() for i in range(n)]
    return [name for _, name in sorted(places)]


def _measure(
    measurement: Measurement, model: Any, encoder: Any, log: pd.DataFrame, same: dict[str, Any]
) -> Iterator[list[dict[str, Any]] | str]:
    what = " ".join(f"{name}={value}" for name, value in same.items())
    with tempfile.TemporaryDirectory() as folder:
        ranker = Path(folder) / "ranker"
        path = keras_infnet.serving.export(model, encoder, ranker, table_dtype=same["table_dtype"])
        for candidates in measurement.candidates:
            requests = make_requests(encoder, log, candidates)
            try:
                seconds = _seconds(measurement, path, requests)
            # What a model can't do, such as too many candidates at once, must not stop the others.
            except (MemoryError, OSError, ValueError) as error:
                yield f"{what} candidates={candidates}: {str(error) or 'out of memory'}"
                continue
            records = [
                _record(same, signature, candidates, taken) for signature, taken in seconds.items()
            ]
            p50s = "  ".join(f"{r['signature']} {r['p50_ms']:.1f} ms" for r in records)
            print(f"{what} candidates={candidates}: {p50s}", flush=True)
            yield records


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
