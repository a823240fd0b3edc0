"""What a model costs: parameters, compilation, and seconds of a step, all models in one process.

Steps of all models alternate in several rounds, so that what else the machine does hits them alike.
"""

import itertools
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

import keras_infnet
from benchmarks.measuring import median_step_seconds
from benchmarks.protocol.data import load_data
from benchmarks.protocol.runs import BATCH_SIZE, RunConfig
from benchmarks.protocol.space import build_model
from benchmarks.protocol.tables import Tables
from benchmarks.protocol.train import count_parameters

INFERENCE_BATCH_SIZE = 2048
REFERENCE = "PLE"
_BATCHES, _ROUNDS = 4, 5


def measure_costs(
    tables: Tables, path: Path, settings: Mapping[tuple[str, str], RunConfig], rounds: int = _ROUNDS
) -> None:
    """Writes `cost.csv`.

    Args:
        tables: The tables.
        path: Folder of the log.
        settings: (model, setting) -> configuration. One kind of histories.
        rounds: Rounds over all models.
    """
    first = next(iter(settings.values()))
    data = load_data(path, first.tasks, first.histories, first.log)
    train, inference = _batches(data, BATCH_SIZE), _batches(data, INFERENCE_BATCH_SIZE)
    models, compile_seconds = {}, {}
    for key, config in settings.items():
        model = build_model(config.model, data.schema, config.arguments, config.members)
        model.compile(keras.optimizers.Adam(config.learning_rate), jit_compile=True)
        start = time.perf_counter()
        model.train_on_batch(*train[0])
        compile_seconds[key] = time.perf_counter() - start
        model.predict_on_batch(inference[0][0])
        models[key] = model
        print(f"{' '.join(key)}: compiled in {compile_seconds[key]:.1f} s", flush=True)
    step_seconds = median_step_seconds(models, train, "train", rounds)
    inference_seconds = median_step_seconds(models, inference, "inference", rounds)
    rows = []
    for key, config in settings.items():
        known = {"model": key[0], "members": config.members, "histories": config.histories}
        sizes = {"setting": key[1], **_sizes(models[key]), "compile_seconds": compile_seconds[key]}
        rows.append(known | sizes | _speed(key, step_seconds, inference_seconds))
    tables.put("cost.csv", rows)


def machine() -> str:
    """The processor, its cores and the backend, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {keras.backend.backend()}"


def _batches(data: keras_infnet.RankingData, batch_size: int) -> list[Any]:
    """Some batches of training rows, in memory."""
    batches = data.batches("train", shuffle=True, batch_size=batch_size)
    return list(itertools.islice(batches.as_numpy_iterator(), _BATCHES))


def _sizes(model: Any) -> dict[str, int]:
    counted = count_parameters(model)
    dense = counted["parameters"] - counted["table_parameters"]
    return {**counted, "dense_parameters": dense}


def _speed(key: tuple[str, str], train: Mapping, inference: Mapping) -> dict[str, Any]:
    """Time of a step, examples a second, and time over that of PLE's default; NaN without it."""
    reference, found = (REFERENCE, "default"), {}
    modes = (("train", train, BATCH_SIZE), ("inference", inference, INFERENCE_BATCH_SIZE))
    for mode, seconds, batch_size in modes:
        relative = seconds[key] / seconds.get(reference, float("nan"))
        found |= {
            f"{mode}_step_ms": 1e3 * seconds[key],
            f"{mode}_examples_per_second": batch_size / seconds[key],
            f"{mode}_time_relative_to_{REFERENCE}": relative,
        }
    return {**found, "machine": machine()}
