"""A ranking model whose table is looked up twice a step, and its training written out in numpy."""

import keras
import numpy as np

from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.models.ranking_model import RankingModel

USERS, VIDEOS, DIM, HISTORY = 20, 30, 3, 4
ROWS = USERS + VIDEOS


@keras.saving.register_keras_serializable(package="tests")
class RowRanker(RankingModel):
    """`click = sigmoid(kernel [user; candidate; videos of the history] + bias)`."""

    @classmethod
    def graph(cls, schema, config):
        inputs = {
            "categorical": keras.Input((2,), dtype="int32", name="categorical"),
            "history": keras.Input((HISTORY,), dtype="int32", name="history"),
        }
        tables = {"user_id": USERS, "video_id": VIDEOS}
        embedding = FusedEmbedding(tables, DIM, name="fused_embedding")
        rows = [
            embedding(inputs["categorical"], tables=("user_id", "video_id")),
            embedding(inputs["history"], tables=("video_id",) * HISTORY),
        ]
        flat = keras.layers.Flatten()(keras.layers.Concatenate(1)(rows))
        head = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="click")
        return inputs, {"click": head(flat)}


def row_ranker(dtype=None, seed=0):
    """The model, with random weights: table, kernel and bias."""
    user = CategoricalFeature("user_id", "user", num_ids=USERS)
    video = CategoricalFeature("video_id", "item", num_ids=VIDEOS)
    schema = FeatureSchema([user, video], [BinaryTask("click", base_rate=0.3)])
    model, rng = RowRanker(schema, dtype=dtype), np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype("float32") for w in model.weights])
    return model


def row_batches(steps=20, batch=8, seed=0):
    """Batches of (inputs, labels) of the first 10 users and 12 videos alone; ids repeat often."""
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(steps):
        ids = rng.integers(0, 10, (batch, 2)).astype("int32")
        history = rng.integers(0, 12, (batch, HISTORY)).astype("int32")
        labels = {"click": rng.integers(0, 2, (batch, 1)).astype("float32")}
        batches.append(({"categorical": ids, "history": history}, labels))
    return batches


def table_ids(x):
    """Rows of the fused table that a batch looks up, `(batch, look-ups)`."""
    return np.concatenate([x["categorical"] + [0, USERS], x["history"] + USERS], axis=1)


def gradients(weights, x, y):
    """Gradients of the mean cross entropy by table, kernel and bias, in float64.

    `y` has `click` and, where rows are weighted, `weight`.
    """
    table, kernel, bias = weights
    ids = table_ids(x)
    flat = table[ids].reshape(len(ids), -1)
    error = (1 / (1 + np.exp(-(flat @ kernel + bias))) - y["click"]) / len(ids)
    error = error * y.get("weight", 1)
    of_table = np.zeros_like(table)
    np.add.at(of_table, ids, (error @ kernel.T).reshape(*ids.shape, -1))
    return [of_table, flat.T @ error, error.sum(axis=0)]


def clipped(gradients, clip):
    """Gradients after `{"clipnorm": c}`, `{"global_clipnorm": c}`, `{"clipvalue": c}` or `{}`."""
    norms = [np.sqrt(np.sum(g**2)) for g in gradients]
    if "clipnorm" in clip:
        return [g * min(1, clip["clipnorm"] / n) for g, n in zip(gradients, norms, strict=True)]
    if "global_clipnorm" in clip:
        whole = np.sqrt(np.sum(np.square(norms)))
        return [g * min(1, clip["global_clipnorm"] / whole) for g in gradients]
    bound = clip.get("clipvalue", np.inf)
    return [np.clip(g, -bound, bound) for g in gradients]


def adagrad(rate, start=0.1, epsilon=1e-7):
    """Dense Adagrad: a function of (step, index, weight, gradient, touched) to the new weight."""
    sums = {}

    def step(_, index, weight, gradient, touched):
        sums[index] = sums.get(index, start) + gradient**2
        return weight - rate * gradient / np.sqrt(sums[index] + epsilon)

    return step


def lazy_adam(rate, b1=0.9, b2=0.999, epsilon=1e-7, amsgrad=False):
    """Adam in which rows that are not touched keep weight and moments."""
    slots = {}

    def step(t, index, weight, gradient, touched):
        m, v, highest = slots.get(index, (np.zeros_like(weight),) * 3)
        m = np.where(touched, b1 * m + (1 - b1) * gradient, m)
        v = np.where(touched, b2 * v + (1 - b2) * gradient**2, v)
        highest = np.maximum(highest, v)
        slots[index] = m, v, highest
        rate_t = rate * np.sqrt(1 - b2**t) / (1 - b1**t)
        moved = weight - rate_t * m / (np.sqrt(highest if amsgrad else v) + epsilon)
        return np.where(touched, moved, weight)

    return step


def trained(weights, batches, step, clip=None, decay=0.0):
    """Weights after training in numpy; `decay` is weight decay times the learning rate."""
    weights = [w.astype("float64") for w in weights]
    for t, (x, y) in enumerate(batches, 1):
        found = clipped(gradients(weights, x, y), clip or {})
        touched = np.isin(np.arange(ROWS), table_ids(x))[:, None]
        for i, gradient in enumerate(found):
            rows = touched if i == 0 else np.True_
            old = weights[i] * np.where(rows, 1 - decay, 1)
            weights[i] = step(t, i, old, gradient, rows)
    return weights


def train(model, batches, optimizer, **kwargs):
    """Compiles and trains the model, one call a batch."""
    model.compile(optimizer, weighted_metrics=[], **kwargs)
    for x, y in batches:
        model.train_on_batch(x, y)
    return model


def assert_weights(model, expected, atol=1e-6):
    for found, weight in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=atol)
