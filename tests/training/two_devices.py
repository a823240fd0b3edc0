"""Trains on one and on two virtual CPU devices, in a process of its own, and writes what it saw."""

import contextlib
import json
import os
import subprocess
import sys

import keras
import numpy as np

import keras_infnet
from keras_infnet import LazyAdam, SparseAdagrad, split_optimizer
from tests.house.source import ROOT
from tests.training.row_ranker import ROWS, row_batches, row_ranker

STEPS, BATCH = 6, 8
OPTIMIZERS = {
    "dense": lambda: keras.optimizers.Adam(0.01),
    "adagrad": lambda: SparseAdagrad(0.1, row_updates_from=0, clipnorm=0.05),
    "adam": lambda: LazyAdam(0.01, row_updates_from=0, weight_decay=0.1),
    "split": lambda: split_optimizer(
        SparseAdagrad(0.1, row_updates_from=0), keras.optimizers.Adagrad(0.1)
    ),
}
DISTRIBUTIONS = {
    "one": lambda: None,
    "parallel": lambda: keras_infnet.data_parallel(2),
    "sharded": lambda: keras_infnet.shard_tables(2, shard_from=ROWS),
    "sharded in a group": lambda: keras_infnet.shard_tables(2, num_replicas=1, shard_from=0),
    "small tables": lambda: keras_infnet.shard_tables(2, shard_from=ROWS + 1),
}


def child(function, **arguments):
    """What a function of this module gives in a process with two virtual devices."""
    command = [sys.executable, "-m", "tests.training.two_devices", function, json.dumps(arguments)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def rows():
    """Inputs, labels and weights of all steps below one another."""
    batches = row_batches(STEPS, BATCH)
    x = {name: np.concatenate([x[name] for x, _ in batches]) for name in batches[0][0]}
    y = {"click": np.concatenate([y["click"] for _, y in batches])}
    weights = np.random.default_rng(3).integers(0, 3, (STEPS * BATCH, 1)).astype("float32")
    return x, y, {"click": weights}


class Losses(keras.callbacks.Callback):
    """The running loss after each step."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def trained(distributions, optimizers):
    """Curves, weights and metrics by distribution and optimizer."""
    return {
        name: {optimizer: _trained(DISTRIBUTIONS[name](), optimizer) for optimizer in optimizers}
        for name in distributions
    }


def _trained(distribution, optimizer):
    (x, y, weights), losses = rows(), Losses()
    with contextlib.nullcontext() if distribution is None else distribution.scope():
        model = row_ranker()
        model.compile(OPTIMIZERS[optimizer](), jit_compile=_compiled())
        fitted = model.fit(
            x, y, BATCH, 2, 0, sample_weight=weights, shuffle=False, callbacks=[losses]
        )
        evaluated = model.evaluate(x, y, BATCH, 0, weights, return_dict=True)
        found = {
            "losses": losses.losses,
            "auc": fitted.history["auc"],
            "evaluated": evaluated,
            "weights": [w.tolist() for w in model.get_weights()],
        }
        if keras.backend.backend() == "jax":
            found |= _placed(model, (x, y, weights), distribution)
    return found


def _compiled():
    return keras.backend.backend() == "jax"


def _placed(model, data, distribution):
    """Shapes of the parts that each device holds, and the compiled step's text."""
    import jax

    variables = [*model.variables, *model.optimizer.variables]
    parts = {v.path: list(v.value.addressable_shards[0].data.shape) for v in variables}
    if distribution is None:
        return {"parts": parts, "step": ""}
    state = model._get_jax_state(True, True, True, True)
    batch = jax.tree.map(lambda rows: rows[:BATCH], data)
    batch = jax.tree.map(
        lambda r: jax.device_put(r, distribution.get_data_layout(r.shape).backend_layout), batch
    )
    step = jax.jit(model.train_step, out_shardings=(None, model._get_state_sharding_spec()))
    return {"parts": parts, "step": step.lower(state, batch).compile().as_text()}


if __name__ == "__main__":
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
