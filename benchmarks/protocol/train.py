"""One run: train, keep the best weights, predict a split, measure."""

import contextlib
import gc
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import keras_infnet
from benchmarks.protocol.data import ROW_KEY, train_batches
from benchmarks.protocol.runs import RunConfig, new_folder, read_json, write_json
from benchmarks.protocol.space import build_model

WEIGHTS = "model.weights.h5"


class NaNFound(ArithmeticError):
    """A loss or prediction that is no number, and the training step of it."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def train_run(config: RunConfig, data: keras_infnet.RankingData, root: Path) -> None:
    """Makes the run's folder, with the predictions and metrics of the validation rows."""
    start = time.perf_counter()
    with new_folder(root, config) as folder, output_to(folder / "log.txt"):
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
        write_json(
            folder / "history.json", {k: [float(v) for v in vs] for k, vs in history.items()}
        )
        metrics = measure(model, config, data, "validation", folder, steps_of(model))
        result = {
            "metrics": metrics,
            "mean_auc": mean_auc(metrics),
            "seconds": round(time.perf_counter() - start, 1),
            "steps": steps_of(model),
            **count_parameters(model),
        }
        write_json(folder / "result.json", result)
    release()


def predict_test(config: RunConfig, data: keras_infnet.RankingData, root: Path) -> None:
    """Adds predictions and metrics of the test rows to a run's folder."""
    folder = root / config.name
    if not folder.exists():
        train_run(config, data, root)
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
    predictions = predicted_rows(model, data, part)
    bad = count_nan(predictions, config.tasks)
    if bad:
        raise NaNFound(f"{bad:,} predictions of the {part} rows are NaN after step {step}", step)
    write_parquet(folder / f"{part}.parquet", predictions)
    return split_metrics(predictions, config.tasks)


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


METRICS = ("auc", "gauc", "gauc_frozen", "gauc_user_day", "log_loss")


def predicted_rows(model: Any, data: keras_infnet.RankingData, part: str) -> pd.DataFrame:
    """Row key, labels, and probabilities with rolling and with frozen histories.

    Columns `{task}_label`, `{task}` and `{task}_frozen`; frozen histories end at the user's first
    row of the split.
    """
    rows = data.frame(part)
    rolling = data.predict(model, part)
    frozen = data.predict(model, part, freeze_at="first_row")
    labels = {f"{t.name}_label": rows[t.label].astype("int8") for t in data.schema.tasks}
    found = rows[list(ROW_KEY)].assign(**labels)
    found[list(rolling.columns)] = rolling.astype("float32")
    found[[f"{task}_frozen" for task in frozen.columns]] = frozen.astype("float32")
    return found.reset_index(drop=True)


def count_nan(predictions: pd.DataFrame, tasks: Sequence[str]) -> int:
    """Rows with a prediction that is NaN."""
    columns = [*tasks, *(f"{task}_frozen" for task in tasks)]
    return int(predictions[columns].isna().any(axis=1).sum())


def split_metrics(predictions: pd.DataFrame, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Metrics by task; a gAUC says in its name which histories and groups it is of."""
    users, days = predictions["user_id"], predictions["date"]
    labels = {task: predictions[f"{task}_label"] for task in tasks}
    rolling = keras_infnet.metrics.task_metrics(
        labels, predictions[list(tasks)], {"user": users, "user_day": [users, days]}
    )
    frozen = keras_infnet.metrics.task_metrics(
        labels, {task: predictions[f"{task}_frozen"] for task in tasks}, users
    )
    return {
        task: {
            "auc": numbers["auc"],
            "gauc": numbers["gauc_user"],
            "gauc_frozen": frozen[task]["gauc"],
            "gauc_user_day": numbers["gauc_user_day"],
            "log_loss": numbers["log_loss"],
        }
        for task, numbers in rolling.items()
    }


def mean_auc(metrics: dict[str, dict[str, float]]) -> float:
    """Mean AUC of the tasks: what trials are chosen by."""
    return float(np.mean([numbers["auc"] for numbers in metrics.values()]))
