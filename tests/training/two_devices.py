"""Trains on one and on two virtual CPU devices, in a process of its own, and writes what it saw."""

import contextlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import keras_infnet
from keras_infnet.optimizers import LazyAdam, SparseAdagrad, split_optimizer
from tests.balances.toy import batches, made
from tests.house.source import ROOT
from tests.training.row_ranker import ROWS, row_batches, row_ranker

STEPS, BATCH, EPOCHS = 5, 8, 2
OPTIMIZERS = {
    "dense": lambda: keras.optimizers.Adam(0.01),
    "adagrad": lambda: SparseAdagrad(0.1, row_updates_from=0, clipnorm=0.05),
    "split adam": lambda: split_optimizer(
        LazyAdam(0.01, row_updates_from=0, weight_decay=0.1), keras.optimizers.Adagrad(0.1)
    ),
}
BALANCES = ("cagrad", "famo") if keras.backend.backend() == "tensorflow" else ("cagrad",)
DISTRIBUTIONS = {
    "one": lambda: None,
    "parallel": lambda: keras_infnet.training.data_parallel(2),
    "sharded": lambda: keras_infnet.training.shard_tables(2, shard_from=ROWS),
    "in a group": lambda: keras_infnet.training.shard_tables(2, num_replicas=1, shard_from=0),
    "small": lambda: keras_infnet.training.shard_tables(2, shard_from=ROWS + 1),
}


def child(runs):
    """What `seen` gives for each distribution and optimizer, in a process with two devices."""
    command = [sys.executable, "-m", "tests.training.two_devices", json.dumps(runs)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {tuple(run): seen for run, seen in zip(runs, found, strict=True)}


def weighted_batches():
    """Batches of inputs and labels, with the weights of rows in the labels."""
    batches, rng = row_batches(STEPS, BATCH), np.random.default_rng(3)
    for _, y in batches:
        y["weight"] = rng.integers(0, 3, (BATCH, 1)).astype("float32")
    return batches


def seen(distribution, optimizer):
    """Losses, metrics and weights of a training, and where the variables lie after it."""
    distribution = DISTRIBUTIONS[distribution]()
    with contextlib.nullcontext() if distribution is None else distribution.scope():
        if optimizer in BALANCES:
            return _balanced(optimizer, distribution)
        model, losses = row_ranker(), Losses()
        model.compile(OPTIMIZERS[optimizer](), **_quick(distribution))
        data = _rows(weighted_batches())
        fitted = model.fit(
            *data[:2], BATCH, EPOCHS, 0, [losses], shuffle=False, sample_weight=data[2]
        )
        found = {
            "losses": losses.losses,
            "auc": fitted.history["auc"],
            "weights": [w.tolist() for w in model.get_weights()],
        }
        if optimizer == "adagrad":
            measured = model.evaluate(*data[:2], BATCH, 0, sample_weight=data[2], return_dict=True)
            predicted = model.predict(data[0], BATCH, verbose=0)["click"]
            exact = roc_auc_score(data[1]["click"], predicted, sample_weight=data[2]["click"][:, 0])
            found["evaluated"] = [measured["auc"], exact]
        if keras.backend.backend() == "jax":
            variables = [*model.variables, *model.optimizer.variables]
            found["parts"] = {v.path: v.value.addressable_shards[0].data.shape for v in variables}
            found["step"] = _compiled_step(model, data, distribution)
        return found


def _quick(distribution):
    """Arguments of `compile`: for a few steps TensorFlow compiles by XLA, or a graph, too long."""
    eager = keras.backend.backend() == "tensorflow" and distribution is None
    return {"jit_compile": keras.backend.backend() == "jax", "run_eagerly": eager}


def _balanced(balance, distribution):
    """Weights of a training whose tasks are balanced, and those of its tasks."""
    model = made(optimizer=keras.optimizers.SGD(0.1), balance=balance, **_quick(distribution))
    x, y, weights = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches())
    model.fit(x, y, 16, 1, 0, shuffle=False, sample_weight=weights)
    found = [w.tolist() for w in model.get_weights()]
    return {"weights": found, "of tasks": list(model.balance.weights.values())}


class Losses(keras.callbacks.Callback):
    """The running loss after each step."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def _rows(batches):
    x = {name: np.concatenate([x[name] for x, _ in batches]) for name in batches[0][0]}
    y, weights = (np.concatenate([y[name] for _, y in batches]) for name in ("click", "weight"))
    return x, {"click": y}, {"click": weights}


def _compiled_step(model, data, distribution):
    """The text of the compiled step, where tables are shared out."""
    import jax

    if not isinstance(distribution, keras.distribution.ModelParallel):
        return ""

    def place(rows):
        return jax.device_put(rows, distribution.get_data_layout(rows.shape).backend_layout)

    batch = jax.tree.map(lambda rows: place(rows[:BATCH]), data)
    state = model._get_jax_state(True, True, True, True)
    step = jax.jit(model.train_step, out_shardings=(None, model._get_state_sharding_spec()))
    return step.lower(state, batch).compile().as_text()


if __name__ == "__main__":
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    print(json.dumps([seen(*run) for run in json.loads(sys.argv[1])]))
