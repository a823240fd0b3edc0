"""One of the processes that `several_processes.py` starts: trains on its part of the shards."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

import keras_infnet


def main(settings: dict[str, Any], output: Path) -> None:
    """Joins the other processes, trains, and writes the running loss after each step."""
    processes, index = len(settings["addresses"]), settings["index"]
    strategy = join(settings["addresses"], index) if processes > 1 else None
    keras_infnet.training.set_seeds(0)
    parts = range(settings["parts"]) if processes == 1 else [index]
    shards = [open_shard(settings, part) for part in parts]
    batches = endless_batches(shards)
    schema = shards[0].schema
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model = keras_infnet.models.MODELS[settings["model"]](schema, dim=8, dropout=0.0)
        # XLA can't compile the steps of a strategy; the single process takes the same steps.
        jit_compile = "auto" if keras.backend.backend() == "jax" else False
        optimizer = keras_infnet.optimizers.LazyAdam(0.01, row_updates_from=0)
        model.compile(optimizer, jit_compile=jit_compile)
    if strategy is not None:
        batches = strategy_batches(strategy, batches)
    losses = Losses()
    steps = settings["steps"]
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[losses])
    unfinished = output.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(losses.losses), encoding="utf-8")
    unfinished.rename(output)


def join(addresses: list[str], index: int) -> Any:
    """Connects the processes; gives TensorFlow's strategy, and None on JAX, which needs none."""
    if keras.backend.backend() == "jax":
        keras.distribution.initialize(addresses[0], len(addresses), index)
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
        return None
    import tensorflow as tf

    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return tf.distribute.MultiWorkerMirroredStrategy()


def open_shard(settings: dict[str, Any], part: int) -> keras_infnet.RankingData:
    """One part of the prepared rows."""
    return keras_infnet.RankingData.open(
        settings["folder"], batch_size=settings["rows"], shard=(part, settings["parts"])
    )


def endless_batches(shards: list[keras_infnet.RankingData]) -> Any:
    """Training batches without end; a single process reads all parts side by side."""
    import tensorflow as tf

    streams = [
        shard.batches("train", shuffle=True, drop_remainder=True).starting_at(0) for shard in shards
    ]

    def below(*batches: Any) -> Any:
        return keras.tree.map_structure(lambda *rows: tf.concat(rows, 0), *batches)

    return tf.data.Dataset.zip(*streams).map(below) if len(streams) > 1 else streams[0]


def strategy_batches(strategy: Any, batches: Any) -> Any:
    """This process's batches as they are: TensorFlow would cut them once more."""
    return strategy.distribute_datasets_from_function(lambda context: batches)


class Losses(keras.callbacks.Callback):
    """The running loss after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.losses.append(float(logs["loss"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
