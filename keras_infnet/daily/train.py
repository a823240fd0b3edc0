"""Training of a version: the first from scratch, all others go on; a killed one resumes."""

import contextlib
import json
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from keras_infnet.daily.config import DailyConfig
from keras_infnet.daily.day_data import DayData
from keras_infnet.training.checkpoints import Checkpoints
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.seeds import set_seeds

_POINTS = 50
_CHECKPOINTS, _CURVE = "checkpoints", "curve.jsonl"


def train(
    config: DailyConfig,
    data: DayData,
    rows: pd.DataFrame,
    grown: Any,
    number: int,
    work: Path,
    verbose: Any,
    replay: pd.DataFrame | None = None,
) -> tuple[Any, list[dict[str, float]]]:
    """Trains the model of a version; killed and called again, it goes on where it was.

    Args:
        config: What is built, and how it is trained.
        data: The data.
        rows: Training rows.
        grown: The model of the version before, grown to the encoder of the data; `None` for the
            first version.
        number: Number of the version; seeds are those of it.
        work: Folder of the run, where checkpoints lie.
        verbose: As in `keras.Model.fit`.
        replay: Rows of days before, with their histories as list columns.

    Returns:
        The model, and its training curve: mean losses of stretches of steps.
    """
    part, seed = config.training, config.training.seed + number
    set_seeds(seed)
    options = {"batch_size": part.batch_size, "shuffle": True, "seed": seed}
    # A `tf.data.Dataset`, which `Batches` becomes one of when it is made.
    batches: Any = data.batches(rows, unknown_rate=part.unknown_rate, **options)
    callbacks = [
        Checkpoints(work / _CHECKPOINTS, every=part.checkpoint_every),
        _Curve(work / _CURVE, max(1, int(batches.cardinality()) // _POINTS)),
    ]
    common = {"callbacks": callbacks, "verbose": verbose}
    if grown is None:
        model = config.model_class()(data.encoder.schema, **config.model.arguments)
        first = {"epochs": part.epochs, "learning_rate": part.learning_rate}
        fit_ranker(model, batches, jit_compile=part.jit_compile, **first, **common)
    else:
        model = grown
        fit_ranker(
            model,
            batches,
            continue_training=True,
            learning_rate=part.next_learning_rate,
            warm_restart=part.warm_restart,
            replay=None if replay is None else data.replayed(replay, **options),
            replay_share=part.replay_share,
            **common,
        )
    return model, _curve(work / _CURVE)


class _Curve(keras.callbacks.Callback):
    """Writes the loss every few steps: a file that a run which goes on appends to."""

    model: Any

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self._path, self._every, self._epoch = path, every, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if logs and (batch + 1) % self._every == 0:
            iterations = int(self.model.optimizer.iterations)
            point = {"epoch": self._epoch, "step": iterations, "loss": float(logs["loss"])}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")


def _curve(path: Path) -> list[dict[str, float]]:
    """The points of a file, each step once."""
    if not path.is_file():
        return []
    by_step: dict[int, dict[str, float]] = {}
    for line in path.read_text("utf-8").splitlines():
        # On a full disk a line may be there in part.
        with contextlib.suppress(ValueError):
            point = json.loads(line)
            by_step[point["step"]] = point
    return [by_step[step] for step in sorted(by_step)]
