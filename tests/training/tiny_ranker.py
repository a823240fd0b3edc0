"""A ranking model of one table, and datasets for it: enough for what trains a model."""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tests")
class TinyRanker(keras.Model):
    """A table of ids and one probability a task; `compile(optimizer)` knows the rest."""

    def compile(self, optimizer, **kwargs):
        tasks = list(self.output)
        super().compile(
            optimizer,
            loss=dict.fromkeys(tasks, "binary_crossentropy"),
            weighted_metrics={task: [keras.metrics.AUC(name="auc")] for task in tasks},
            **kwargs,
        )

    def get_compile_config(self):
        return {"optimizer": keras.optimizers.serialize(self.optimizer)}

    def compile_from_config(self, config):
        self.compile(keras.optimizers.deserialize(config["optimizer"]))
        self.optimizer.build(self.trainable_variables)


def tiny_ranker(tasks=("click", "like"), num_ids=40):
    ids = keras.Input((2,), dtype="int32", name="categorical")
    rows = keras.layers.Embedding(num_ids, 4, name="fused_embedding")(ids)
    rows = keras.layers.Flatten()(rows)
    outputs = {
        task: keras.layers.Dense(1, activation="sigmoid", name=f"{task}_head")(rows)
        for task in tasks
    }
    return TinyRanker({"categorical": ids}, outputs)


def tiny_rows(num_rows=60, tasks=("click", "like"), num_ids=40, seed=0):
    """Inputs, labels and weights; labels depend on the first id."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, num_ids, (num_rows, 2)).astype("int32")
    noise = rng.random((num_rows, len(tasks)))
    labels = ((ids[:, :1] / num_ids + noise) > 1).astype("float32")
    y = {task: labels[:, [i]] for i, task in enumerate(tasks)}
    weights = {task: np.ones((num_rows, 1), "float32") for task in tasks}
    return {"categorical": ids}, y, weights


def batches_of(rows, batch_size=10):
    return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)


class RowCounter(keras.Model):
    """Its loss is the sum of its rows' weights: a step of SGD(1) takes 1 from each row seen."""

    def compile(self, optimizer):
        super().compile(optimizer, loss=SumOfOutputs())


class SumOfOutputs(keras.losses.Loss):
    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, y_true, y_pred):
        return y_pred[:, 0]


def row_counter(weights):
    row = keras.Input((1,), dtype="int32")
    embedding = keras.layers.Embedding(len(weights), 1)
    model = RowCounter(row, {"click": keras.layers.Flatten()(embedding(row))})
    model.set_weights([weights])
    return model


def numbered_rows(num_rows):
    rows = np.arange(num_rows, dtype="int32")[:, None]
    return tf.data.Dataset.from_tensor_slices((rows, {"click": np.zeros((num_rows, 1))}))
