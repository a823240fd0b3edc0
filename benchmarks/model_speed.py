"""Examples a second of models of equal width, side by side, on simulated inputs."""

import dataclasses
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.measuring import median_step_seconds
from benchmarks.protocol.space import Trial, arguments_of, build_model, check_models

REFERENCE = "SharedBottom"
HISTORY = "exposures"
TASKS = ("click", "like", "long_view")
_BATCHES = 2


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is measured and how; `rows`, `users` and `items` are those of the simulated log."""

    models: Sequence[str]
    batch: int
    rounds: int
    steps: int
    rows: int = 20_000
    users: int = 1_000
    items: int = 7_000
    jit_compile: bool | str = True


def measure(measurement: Measurement, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """A record for each length and model; `REFERENCE` is measured whether asked for or not."""
    names = check_models([REFERENCE, *measurement.models])
    log, schema = simulated_log(measurement.rows, measurement.users, measurement.items)
    return [
        record for length in lengths for record in _measure(measurement, names, log, schema, length)
    ]


def simulated_log(rows: int, users: int, items: int) -> tuple[pd.DataFrame, Any]:
    """A simulated log in KuaiRand's layout, and its schema."""
    with tempfile.TemporaryDirectory() as folder:
        keras_infnet.datasets.simulate(f"{folder}/log", rows, users, items)
        data = keras_infnet.datasets.KuaiRand(f"{folder}/log", tasks=TASKS)
        return data.frame(), data.schema()


def with_length(schema: Any, length: int) -> Any:
    """The schema with histories of another length."""
    histories = tuple(dataclasses.replace(h, max_length=length) for h in schema.histories)
    return dataclasses.replace(schema, histories=histories)


def full_histories(log: pd.DataFrame, schema: Any, rows: int) -> pd.DataFrame:
    """Rows whose histories are drawn from the whole log and have no gap."""
    rng = np.random.default_rng(0)
    history = schema.history(HISTORY)
    frame = log.iloc[rng.integers(0, len(log), rows)].reset_index(drop=True)
    drawn = rng.integers(0, len(log), (rows, history.max_length))
    lists = {}
    for column in (*history.fields, *history.actions):
        values = log[column].to_numpy()
        lists[f"{HISTORY}_{column}"] = list(values[drawn])
    ages = np.sort(rng.integers(60, 30 * 86_400, drawn.shape), axis=1)[:, ::-1]
    lists[f"{HISTORY}_ratio"] = list(rng.random(drawn.shape, "float32"))
    lists[f"{HISTORY}_age_seconds"] = list(ages)
    return frame.assign(**lists)


def make_batches(log: pd.DataFrame, schema: Any, length: int, batch: int) -> tuple[Any, list]:
    """The fitted schema, and batches of full histories as tensors of the backend."""
    data = keras_infnet.RankingData(with_length(schema, length), log)
    frame = full_histories(log, data.schema, _BATCHES * batch)
    batches = data.batches(frame, batch_size=batch).as_numpy_iterator()
    tensors = [keras.tree.map_structure(keras.ops.convert_to_tensor, b) for b in batches]
    return data.schema, tensors


def _measure(
    measurement: Measurement, names: Sequence[str], log: pd.DataFrame, schema: Any, length: int
) -> list[dict[str, Any]]:
    schema, batches = make_batches(log, schema, length, measurement.batch)
    models = {}
    for name in names:
        arguments = arguments_of(name, Trial(), len(TASKS))
        models[name] = build_model(name, schema, arguments, members=1)
        models[name].compile("adam", jit_compile=measurement.jit_compile, weighted_metrics=[])
        models[name].train_on_batch(*batches[0])
        models[name].predict_on_batch(batches[0][0])
        print(f"length {length}: {name} compiled", flush=True)
    speeds = {}
    for mode in ("train", "inference"):
        rounds, steps = measurement.rounds, measurement.steps
        seconds = median_step_seconds(models, batches, mode, rounds, steps)
        speeds[mode] = {name: measurement.batch / found for name, found in seconds.items()}
    records = [_record(name, model, speeds) for name, model in models.items()]
    keras.backend.clear_session()
    same = {"backend": keras.backend.backend(), "length": length, "batch": measurement.batch}
    return [{"model": record.pop("model"), **same, **record} for record in records]


def _record(name: str, model: Any, speeds: dict[str, dict[str, float]]) -> dict[str, Any]:
    record: dict[str, Any] = {"model": name}
    for mode, speed in speeds.items():
        record[f"{mode}_examples_per_second"] = speed[name]
    for mode, speed in speeds.items():
        record[f"{mode}_ratio"] = speed[name] / speed[REFERENCE]
    return record | {"parameters": model.count_params()}
