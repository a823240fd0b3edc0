"""One run: train, keep the best weights, predict a split, measure."""

import contextlib
import gc
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pandas as pd

import keras_infnet
from protocol.config import RunConfig
from protocol.data import RankingData
from protocol.folders import new_folder, read_json, write_json
from protocol.scores import count_nan, mean_auc, predicted_rows, split_metrics
from protocol.space import build_model

WEIGHTS = "model.weights.h5"


class NaNFound(ArithmeticError):
    """A loss or prediction that is no number, and the training step of it."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training with an error at the first step whose loss is no finite number."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step += 1
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise NaNFound(f"the loss is {loss} at step {self.step}", self.step)


def train_run(config: RunConfig, data: RankingData, root: Path) -> None:
    """Makes the run's folder, with the predictions and metrics of the validation rows."""
    start = time.perf_counter()
    with new_folder(root, config) as folder, output_to(folder / "log.txt"):
        model = fresh_model(config, data)
        stop = StopAtNaN()
        history = keras_infnet.fit_ranker(
            model,
            data.train_batches(config.batch_size, config.seed),
            data.validation_batches,
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            evaluations_per_epoch=config.evaluations_per_epoch,
            callbacks=[stop],
            verbose=2,
        ).history
        model.save_weights(folder / WEIGHTS)
        write_json(
            folder / "history.json", {k: [float(v) for v in vs] for k, vs in history.items()}
        )
        metrics = measure(model, config, data, "validation", folder, stop.step)
        result = {
            "metrics": metrics,
            "mean_auc": mean_auc(metrics),
            "seconds": round(time.perf_counter() - start, 1),
            "steps": stop.step,
            **count_parameters(model),
        }
        write_json(folder / "result.json", result)
    release()


def predict_test(config: RunConfig, data: RankingData, root: Path) -> None:
    """Adds predictions and metrics of the test rows to a run's folder."""
    folder = root / config.name
    if not folder.exists():
        train_run(config, data, root)
    model = fresh_model(config, data)
    model.load_weights(folder / WEIGHTS)
    steps = read_json(folder / "result.json")["steps"]
    write_json(folder / "test.json", measure(model, config, data, "test", folder, steps))
    release()


def fresh_model(config: RunConfig, data: RankingData) -> Any:
    """The configuration's model, its weights drawn with the run's seed."""
    keras_infnet.training.set_seeds(config.seed)
    schema = data.encoder.schema
    return build_model(config.model, schema, config.arguments, config.members)


def measure(
    model: Any, config: RunConfig, data: RankingData, part: str, folder: Path, step: int
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
