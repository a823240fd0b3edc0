"""One run: train, keep the best weights, predict a split, measure."""

import contextlib
import gc
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.protocol.data import train_batches
from benchmarks.protocol.logs import LOGS, Log
from benchmarks.protocol.runs import RunConfig, new_folder, read_json, write_json
from benchmarks.protocol.space import build_model
from benchmarks.protocol.trees import TREES, Trees

WEIGHTS = "model.weights.h5"


class NaNFound(ArithmeticError):
    """A loss or prediction that is no number, and the training step of it."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def train_run(config: RunConfig, data: keras_infnet.RankingData, root: Path) -> None:
    """Makes the run's folder, with the predictions and metrics of the validation rows."""
    start = time.perf_counter()
    train = _train_trees if config.model in TREES else _train_network
    with new_folder(root, config) as folder, output_to(folder / "log.txt"):
        model, history, sizes = train(config, data, folder)
        write_json(
            folder / "history.json", {k: [float(v) for v in vs] for k, vs in history.items()}
        )
        metrics = measure(model, config, data, "validation", folder, sizes["steps"])
        result = {
            "metrics": metrics,
            "mean_auc": mean_auc(metrics),
            "seconds": round(time.perf_counter() - start, 1),
            **sizes,
        }
        write_json(folder / "result.json", result)
    release()


def _train_network(config: RunConfig, data: keras_infnet.RankingData, folder: Path) -> Any:
    """Model, history and sizes; the weights are in the folder."""
    model = fresh_model(config, data)
    try:
        history = keras_infnet.fit_ranker(
            model,
            train_batches(data, config.batch_size, config.seed),
            data.validation,
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            evaluations_per_epoch=config.evaluations_per_epoch,
            verbose=2,
        ).history
    except FloatingPointError as error:
        raise NaNFound(str(error), steps_of(model)) from error
    model.save_weights(folder / WEIGHTS)
    return model, history, {"steps": steps_of(model), **count_parameters(model)}


def _train_trees(config: RunConfig, data: keras_infnet.RankingData, folder: Path) -> Any:
    """As `_train_network`; steps are trees, and parameters leaves."""
    model = Trees(data, config.model, config.arguments, config.seed)
    history = model.fit()
    model.save(folder)
    steps = sum(booster.num_trees() for booster in model.boosters.values())
    return (
        model,
        history,
        {"steps": steps, "parameters": model.count_leaves(), "table_parameters": 0},
    )


def predict_test(config: RunConfig, data: keras_infnet.RankingData, root: Path) -> None:
    """Adds predictions and metrics of the test rows to a run's folder."""
    folder = root / config.name
    if not folder.exists():
        train_run(config, data, root)
    if config.model in TREES:
        model = Trees(data, config.model, config.arguments, config.seed)
        model.load(folder)
    else:
        model = fresh_model(config, data)
        model.load_weights(folder / WEIGHTS)
    steps = read_json(folder / "result.json")["steps"]
    write_json(folder / "test.json", measure(model, config, data, "test", folder, steps))
    release()


def steps_of(model: Any) -> int:
    """Steps that a model was trained for."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def fresh_model(config: RunConfig, data: keras_infnet.RankingData) -> Any:
    """The configuration's model, its weights drawn with the run's seed."""
    keras_infnet.training.set_seeds(config.seed)
    return build_model(config.model, data.schema, config.arguments, config.members)


def measure(
    model: Any,
    config: RunConfig,
    data: keras_infnet.RankingData,
    part: str,
    folder: Path,
    step: int,
) -> dict[str, dict[str, float]]:
    """Writes a split's predictions, and returns their metrics by task."""
    log = LOGS[config.log]
    predictions = predicted_rows(model, data, part, log)
    bad = count_nan(predictions, config.tasks)
    if bad:
        raise NaNFound(f"{bad:,} predictions of the {part} rows are NaN after step {step}", step)
    write_parquet(folder / f"{part}.parquet", predictions)
    return split_metrics(predictions, config.tasks, log)


def count_parameters(model: Any) -> dict[str, int]:
    """Weights of the model, and how many of them lie in embedding tables."""
    tables = sum(math.prod(w.shape) for w in model.weights if "fused_embedding" in w.path)
    return {"parameters": model.count_params(), "table_parameters": tables}


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Writes under a temporary name, then renames."""
    partial = path.with_name(f".{path.name}.part")
    frame.to_parquet(partial, compression="zstd", index=False)
    partial.replace(path)


def release() -> None:
    """Lets go of the last model: a worker makes hundreds."""
    keras.backend.clear_session()
    gc.collect()


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Sends standard output and error, those of native code too, to a file."""
    kept = [os.dup(stream) for stream in (1, 2)]
    with path.open("a", buffering=1, encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for stream, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, stream)
                os.close(saved)


def predicted_rows(model: Any, data: keras_infnet.RankingData, part: str, log: Log) -> pd.DataFrame:
    """Row key, labels, and probabilities with rolling and with frozen pasts.

    Columns `{task}_label`, `{task}` and, where users have several rows, `{task}_frozen`: histories
    and rates end at the user's first row of the split.
    """
    rows = data.frame(part)
    predict = model.predict if isinstance(model, Trees) else partial(data.predict, model)
    rolling = predict(part)
    labels = {f"{t.name}_label": rows[t.label].astype("int8") for t in data.schema.tasks}
    found = rows[list(log.row_key)].assign(**labels)
    found[list(rolling.columns)] = rolling.astype("float32")
    if log.has_users:
        frozen = predict(part, freeze_at="first_row")
        found[[f"{task}_frozen" for task in frozen.columns]] = frozen.astype("float32")
    return found.reset_index(drop=True)


def count_nan(predictions: pd.DataFrame, tasks: Sequence[str]) -> int:
    """Rows with a prediction that is NaN."""
    columns = [c for task in tasks for c in (task, f"{task}_frozen")]
    return int(predictions[predictions.columns.intersection(columns)].isna().any(axis=1).sum())


def split_metrics(
    predictions: pd.DataFrame, tasks: Sequence[str], log: Log
) -> dict[str, dict[str, float]]:
    """Metrics by task; a gAUC says in its name which pasts and groups it is of."""
    labels = {task: predictions[f"{task}_label"] for task in tasks}
    groups = {name: [predictions[c] for c in columns] for name, columns in groups_of(log).items()}
    rolling = keras_infnet.metrics.task_metrics(labels, predictions[list(tasks)], groups or None)
    if log.has_users:
        scores = {task: predictions[f"{task}_frozen"] for task in tasks}
        frozen = keras_infnet.metrics.task_metrics(labels, scores, predictions[log.row_key[0]])
        for task, numbers in rolling.items():
            numbers |= {"gauc": numbers["gauc_user"], "gauc_frozen": frozen[task]["gauc"]}
    return {task: {m: numbers[m] for m in log.metrics} for task, numbers in rolling.items()}


def groups_of(log: Log) -> dict[str, tuple[str, ...]]:
    """Columns of the groups that a gAUC is within, by their part of the metric's name."""
    user = log.row_key[0]
    return {
        **({"user": (user,)} if log.has_users else {}),
        **({"user_day": (user, log.day)} if log.day else {}),
        **({"list": log.lists} if log.lists else {}),
    }


def mean_auc(metrics: dict[str, dict[str, float]]) -> float:
    """Mean AUC of the tasks: what trials are chosen by."""
    return float(np.mean([numbers["auc"] for numbers in metrics.values()]))
