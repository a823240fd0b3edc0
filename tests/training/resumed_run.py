"""A training that kills itself: `python -m tests.training.resumed_run LOG FOLDER KIND WHEN`."""

import functools
import os
import signal
import sys
from pathlib import Path

import keras

from keras_infnet import fit_ranker
from keras_infnet.callbacks import Checkpoints
from keras_infnet.data import Batches, FeatureEncoder
from keras_infnet.models import SharedBottom
from keras_infnet.optimizers import LazyAdam
from keras_infnet.training import checkpoint_folder, set_seeds
from tests.prepared import large_log, train_rows


class KilledAt(keras.callbacks.Callback):
    """kill -9 in the middle of training, after a number of steps."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def train(kind, prepared, folder, callbacks=()):
    """Two epochs of shuffled batches, with dropout and slots of rows: by `fit`, or by the recipe.

    Args:
        kind: "stream": `fit` on a prepared folder; "memory": `fit_ranker` on `Batches.from_rows`.
        prepared: A folder of `prepare`, of `large_log`.
        folder: Where checkpoints lie.
        callbacks: More callbacks.

    Returns:
        History, with its model.
    """
    # On a CPU these operations are deterministic without being told.
    set_seeds(3)
    encoder = FeatureEncoder.load(prepared / "encoder")
    options = {"batch_size": 64, "shuffle": True, "seed": 5}
    if kind == "stream":
        data = Batches.from_folder(encoder, prepared, mix_blocks=2, **options)
    else:
        data = Batches.from_rows(encoder, train_rows(large_log()), **options)
    batches = int(data.cardinality())
    model = SharedBottom(encoder.schema, dim=2, hidden_dims=(4,), head_dim=4, dropout=0.3)
    # TensorFlow compiles for longer than it trains here.
    compiled = keras.backend.backend() == "jax"
    model.compile = functools.partial(model.compile, jit_compile=compiled)
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 2 * batches)
    optimizer = LazyAdam(schedule, row_updates_from=1)
    checkpoints = Checkpoints(folder, every=3)
    callbacks = [*callbacks, checkpoints]
    if kind == "stream":
        model.compile(optimizer)
        return model.fit(
            checkpoints.batches(data),
            epochs=2,
            steps_per_epoch=batches,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    given = {"optimizer": optimizer, "evaluations_per_epoch": 2, "callbacks": callbacks}
    return fit_ranker(model, data, data.take(1).cache(), epochs=2, patience=9, verbose=0, **given)


def main():
    prepared, folder, kind, when = sys.argv[1:]
    callbacks = []
    if when == "while writing":
        # The files of the first checkpoint are there, its checksums are not.
        checkpoint_folder._checksum = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    else:
        callbacks.append(KilledAt(int(when)))
    train(kind, Path(prepared), Path(folder), callbacks)


if __name__ == "__main__":
    main()
