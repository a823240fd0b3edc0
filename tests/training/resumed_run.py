"""A training that can kill itself: `python -m tests.training.resumed_run FOLDER OUT [options]`."""

import argparse
import json
import os
import signal
from pathlib import Path

import keras
import numpy as np

from keras_infnet import (
    Checkpoints,
    FeatureEncoder,
    Histories,
    INFNet,
    LazyAdam,
    fit_ranker,
    make_dataset,
    set_seeds,
    stream_dataset,
)
from keras_infnet.training import checkpoint_folder
from tests import logs

BATCH = 32


class KilledAt(keras.callbacks.Callback):
    """kill -9 in the middle of a step, counted from the start of the process."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing():
    """kill -9 when a checkpoint's files are there, and its checksums are not."""
    checkpoint_folder._checksum = lambda path: os.kill(os.getpid(), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--kill-while-writing", action="store_true")
    parser.add_argument("--recipe", action="store_true")
    args = parser.parse_args()
    if args.kill_while_writing:
        kill_while_writing()
    set_seeds(3, deterministic=True)
    log = logs.make_log(rows=300)
    if args.prepared:
        encoder = FeatureEncoder.load(args.prepared / "encoder")
        options = {"batch_size": BATCH, "shuffle": True, "seed": 5, "mix_blocks": 2}
        train = stream_dataset(encoder, args.prepared, **options)
    else:
        encoder = FeatureEncoder(logs.log_schema()).fit(log)
        train = make_dataset(
            encoder, log, Histories(encoder, log), batch_size=BATCH, shuffle=True, seed=5
        )
    history = train_model(encoder.schema, train, args)
    model = history.model
    np.savez(args.out / "weights.npz", *model.get_weights())
    (args.out / "history.json").write_text(json.dumps(history.history))


def train_model(schema, train, args):
    model = INFNet(schema, dim=4, dropout=0.2)
    batches = int(train.cardinality())
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 2 * batches)
    # All tables by rows, so that the slots of rows are saved too.
    optimizer = LazyAdam(schedule, row_updates_from=1)
    checkpoints = Checkpoints(args.folder, every=4)
    callbacks = [KilledAt(args.kill_at), checkpoints]
    if args.recipe:
        options = {"optimizer": optimizer, "evaluations_per_epoch": 3, "callbacks": callbacks}
        return fit_ranker(model, train, train.take(2), epochs=2, verbose=0, **options)
    model.compile(optimizer)
    return model.fit(
        checkpoints.batches(train),
        epochs=2,
        steps_per_epoch=batches,
        callbacks=callbacks,
        verbose=0,
    )


if __name__ == "__main__":
    main()
