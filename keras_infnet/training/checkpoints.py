"""Checkpoints: a killed training goes on as if nothing had happened."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from keras_infnet._base.paths import local_path
from keras_infnet._keras_internals import start_at_epoch
from keras_infnet.training.checkpoint_folder import CheckpointFolder, read_arrays
from keras_infnet.training.checkpoint_state import (
    assign,
    build_variables,
    callback_numbers,
    describe,
    differences,
    restore_callback,
    saved_arrays,
    variable_groups,
)

# `True` would be another callback's wish to end the training.
_END_OF_EPOCH = "end of epoch"


class Checkpoints(keras.callbacks.Callback):
    """Saves training every `every` steps, and goes on from there when the script starts again.

    A checkpoint holds all variables of model, optimizer, seed generators and metrics, the number of
    steps, the history, and the schema's fingerprint. A run that is killed at any step and started
    again by the same script ends with the weights of one that was not, if operations are
    deterministic: it goes on with the next batch, learning-rate schedules go by the optimizer's
    `iterations`, and the metrics of the epoch that was cut are those over all of its batches. A run
    that had ended is not trained again, unless `epochs` has grown.

    `keras.callbacks.BackupAndRestore` is not enough: it begins the epoch that was cut again with
    weights that have seen a part of it, knows no position in the data, leaves out the state of
    metrics and other callbacks, and has no checksum.

    A checkpoint is written under a temporary name, synced to disk and renamed, so a crash while it
    is written leaves those before it. It costs the time to write all variables: with two moments,
    three times the tables.

    Args:
        folder: Where checkpoints lie; for one training alone, which holds it from `batches` to the
            end of `fit`. It is made when it is missing.
        every: Steps between two checkpoints. Defaults to `1000`.
        keep: How many of the newest stay. Defaults to `2`: with one, damage would lose all.
        callbacks: Callbacks whose counters and best weights are saved too, such as `EarlyStopping`
            and `ReduceLROnPlateau`; they also go to `fit`. `fit_ranker` adds its own.

    Raises:
        ValueError: A number is below 1. In `batches`: another process trains in the folder, all
            checkpoints are damaged, or the data have no known number of batches. In `fit`: the data
            are not those of `batches`, `steps_per_epoch` is missing, has changed, or is no multiple
            of `steps_per_execution`, the checkpoint is of another schema, model or optimizer, or
            another callback has taken the folder.
        OSError: The folder can't be written to, or the disk is full; older checkpoints stay.
        FloatingPointError: A weight, or a number of the optimizer, is NaN or infinite; older
            checkpoints stay.

    Warns:
        UserWarning: A checkpoint is damaged, and the one before it is taken.

    Example:
        ```python
        keras_infnet.training.set_seeds(1)  # on a GPU with deterministic=True
        data = keras_infnet.RankingData.open("prepared")
        model = keras_infnet.INFNet(data.schema)
        model.compile("adam")
        checkpoints = keras_infnet.callbacks.Checkpoints("run/checkpoints", every=500)
        model.fit(
            checkpoints.batches(data.train),
            epochs=3,
            steps_per_epoch=int(data.train.cardinality()),
            callbacks=[checkpoints],  # the last of them
            shuffle=False,
        )
        ```
    """

    # Keras sets them before training begins.
    model: Any
    params: Any

    def __init__(
        self,
        folder: str | Path,
        every: int = 1000,
        keep: int = 2,
        callbacks: Iterable[keras.callbacks.Callback] = (),
    ) -> None:
        super().__init__()
        if min(every, keep) < 1:
            raise ValueError(
                f"Checkpoints: `every` and `keep` must be 1 or more. Received: {every=}, {keep=}"
            )
        self.folder = CheckpointFolder(local_path(folder, "Checkpoints", "folder", written=True))
        self.every = every
        self.keep = keep
        self._given, self._adopted = list(callbacks), []
        self.step = 0
        self._ready = False

    @property
    def _stateful(self) -> list[keras.callbacks.Callback]:
        return self._given + self._adopted

    def adopt(self, callbacks: Iterable[keras.callbacks.Callback]) -> None:
        """Saves the state of callbacks of a recipe too, instead of those it adopted before."""
        self._adopted = list(callbacks)

    def batches(self, train: Any) -> Any:
        """The data of `fit`: endless, from the batch on with which training goes on.

        Call it anew before each `fit`.

        Args:
            train: Finite, batched `tf.data.Dataset`. `Batches` begin anywhere; what other datasets
                give before the position is read and thrown away, and they must give the same
                batches in each pass.

        Returns:
            A `tf.data.Dataset` without end: `fit` needs `steps_per_epoch`.
        """
        batches = int(train.cardinality())
        if batches < 1:
            raise ValueError(
                "Checkpoints: the data must have a known number of batches, 1 or more; their "
                f"cardinality is {batches}. Leave `repeat` out, or give the dataset the number: "
                "`train.apply(tf.data.experimental.assert_cardinality(batches))`."
            )
        self.folder.take()
        self._found = self.folder.newest()
        self.step = 0 if self._found is None else self._found[1]["step"]
        self._ready, self._element_spec = True, train.element_spec
        starting_at = getattr(train, "starting_at", None)
        return train.repeat().skip(self.step) if starting_at is None else starting_at(self.step)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._check_fit()
        # The dataset of `batches` starts where this training does.
        self._ready = False
        self._at = self._saved_at = self.step
        self._to_restore = self._found
        if self._found is None:
            return
        path, state = self._found
        build_variables(self.model, self._element_spec)
        self._check_state(path, state)
        groups = variable_groups(self.model)
        with read_arrays(path) as arrays:
            for group in ("model", "optimizer"):
                assign(groups[group], group, arrays)
        last = self.params["epochs"]
        first = last if state["stopped"] else min(self.step // self._steps, last)
        start_at_epoch(self.model, first)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Here, after `fit` has reset the metrics and all callbacks have begun.
        self._restore_rest()
        self._epoch = epoch
        self._first = self._at - epoch * self._steps
        if not 0 <= self._first < self._steps:
            raise ValueError(
                f"Checkpoints: epoch {epoch} begins at batch {self._at} of the data; expected one "
                f"of {self._steps} batches an epoch. Leave `initial_epoch` out."
            )

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # At the beginning, where JAX stays asynchronous, and after the evaluation of an epoch.
        place = self._first + batch
        self._at = self._epoch * self._steps + place
        if self._at - self._saved_at >= self.every:
            self._save()
        self._at += self._per_call
        if self._first and place + self._per_call >= self._steps:
            self.model.stop_training = _END_OF_EPOCH

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.model.stop_training == _END_OF_EPOCH:
            self.model.stop_training = False

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        trained = self._at > self.step
        self._restore_rest()
        start_at_epoch(self.model, None)
        if trained:
            self._save(stopped=bool(self.model.stop_training))
        self.folder.release()

    def _check_fit(self) -> None:
        steps = self.params.get("steps")
        if not self._ready or not steps:
            raise ValueError(
                "Checkpoints: give `fit` the data `checkpoints.batches(train)`, made anew, and "
                f"`steps_per_epoch`. Received: steps_per_epoch={steps}"
            )
        self._steps = steps
        self._per_call = self.model.steps_per_execution
        if steps % self._per_call:
            raise ValueError(
                f"Checkpoints: steps_per_epoch={steps} is no multiple of steps_per_execution="
                f"{self._per_call}, so epochs would not begin where the data do."
            )

    def _check_state(self, path: Path, state: dict[str, Any]) -> None:
        found = differences(state["is"], describe(self.model))
        if state["steps_per_epoch"] != self._steps:
            found.append(f"steps_per_epoch is {state['steps_per_epoch']} there, {self._steps} here")
        if len(state["callbacks"]) != len(self._stateful):
            found.append(
                f"state of {len(state['callbacks'])} callbacks there, {len(self._stateful)} here"
            )
        if found:
            raise ValueError(
                f"Checkpoints: {path} is of another training: {'; '.join(found)}. Train as before, "
                "or give this training a folder of its own."
            )

    def _restore_rest(self) -> None:
        """Metrics, history and callbacks, once."""
        if self._to_restore is None:
            return
        (path, state), self._to_restore = self._to_restore, None
        with read_arrays(path) as arrays:
            if self.step % self._steps:
                assign(variable_groups(self.model)["metrics"], "metrics", arrays)
            for number, callback in enumerate(self._stateful):
                restore_callback(callback, number, state["callbacks"][number], arrays)
        self.model.history.history.update(state["history"])
        self.model.history.epoch[:] = state["epochs"]

    def _save(self, stopped: bool = False) -> None:
        history = self.model.history
        state = {
            "step": self._at,
            "steps_per_epoch": self._steps,
            "stopped": stopped,
            "history": {k: [float(v) for v in values] for k, values in history.history.items()},
            "epochs": list(history.epoch),
            "callbacks": [callback_numbers(callback) for callback in self._stateful],
            "is": describe(self.model),
        }
        self.folder.write(self._at, state, saved_arrays(self.model, self._stateful), self.keep)
        self._saved_at = self._at
