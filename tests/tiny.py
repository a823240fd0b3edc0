"""Small fitted schemas, random packed inputs and labels for tests of layers and models."""

import dataclasses
import functools

import keras
import numpy as np
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature

from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.schema import FeatureSchema

FEATURES = (
    CategoricalFeature("user_id", "user", num_ids=12),
    CategoricalFeature("video_id", "item", num_ids=30),
    CategoricalFeature("tag", "item", max_values=3, weights="tag_weight", num_ids=9),
    NumericFeature("duration", "item", num_ids=7),
    CategoricalFeature("author_id", "item", num_ids=11),
    CategoricalFeature("last_video_id", "user", table="video_id", num_ids=30),
    CategoricalFeature("tab", "context", num_ids=4),
    DenseFeature("image", "item", dim=5),
)
TASKS = (
    BinaryTask("click", base_rate=0.4),
    BinaryTask("like", base_rate=0.05, loss_weight=2.0, observed_when="click"),
    BinaryTask("long_view", base_rate=0.3),
)
EXPOSURES = History(
    "exposures",
    fields=("video_id", "author_id", "tag", "duration"),
    max_length=8,
    actions=("click", "like", "long_view"),
    quantities=(Ratio("play_time", "duration"), Age()),
    groups=(
        HistoryGroup("all"),
        HistoryGroup("click", any_of=("click",)),
        HistoryGroup("like", any_of=("like",)),
        HistoryGroup("long_view", any_of=("long_view",)),
        HistoryGroup("skip", none_of=("click",)),
        HistoryGroup("strong", any_of=("like", "long_view")),
    ),
    num_actions=6,
)
POSITIVES = (
    History("clicked", ("video_id",), max_length=7, where="click"),
    History("liked", ("video_id",), max_length=3, where="like"),
    History("long_viewed", ("video_id",), max_length=5, where="long_view"),
    History("followed", ("video_id",), max_length=2, where="follow"),
)
MIXED = (
    History("clicked", ("video_id", "author_id"), max_length=4, where="click"),
    History("searched", ("tab",), max_length=3, quantities=()),
    History("liked", ("video_id", "author_id"), max_length=2, where="like"),
)


def schema(history="exposures", tasks=TASKS, features=FEATURES):
    """A fitted schema with `history` "exposures", "positives", "mixed" or "none"."""
    histories = {"exposures": (EXPOSURES,), "positives": POSITIVES, "mixed": MIXED, "none": ()}
    return FeatureSchema(features, tasks, histories[history])


def longer(schema, by):
    """The schema with room for `by` more events in each history."""
    grown = [dataclasses.replace(s, max_length=s.max_length + by) for s in schema.histories]
    return dataclasses.replace(schema, histories=grown)


def inputs(schema, batch=6, seed=0):
    """Random packed inputs: padding on the left, mixed lengths, empty histories in row 0."""
    rng = np.random.default_rng(seed)
    packed = {}
    if schema.one_valued:
        columns = [rng.integers(0, f.num_ids, batch) for f in schema.one_valued]
        packed["categorical"] = np.stack(columns, 1).astype("int32")
    if schema.bags:
        columns = [rng.integers(0, f.num_ids, (batch, f.max_values)) for f in schema.bags]
        packed["bags"] = np.concatenate(columns, 1).astype("int32")
        packed["bags"][1] = 0
        weights = rng.uniform(0.5, 2, packed["bags"].shape) * (packed["bags"] != 0)
        packed["bag_weights"] = weights.astype("float32")
    if schema.dense:
        width = sum(f.dim for f in schema.dense)
        packed["dense"] = rng.normal(size=(batch, width)).astype("float32")
    for sequence in schema.histories:
        packed |= _history(schema, sequence, batch, rng)
    return packed


def labels(schema, batch=6, seed=1):
    """Random labels and sample weights `(batch, 1)` by task."""
    rng = np.random.default_rng(seed)
    y = {t: rng.integers(0, 2, (batch, 1)).astype("float32") for t in schema.task_names}
    weights = {t: rng.integers(0, 2, (batch, 1)).astype("float32") for t in schema.task_names}
    return y, weights


def randomise(layer, seed=2, scale=0.5):
    """Gives all weights of a built layer or model values that are not trivial."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, scale, w.shape).astype(w.dtype) for w in layer.weights])
    return layer


def randomise_after(layer, *arguments):
    """The layer, built by a call, with values that are not trivial."""
    layer(*arguments)
    return randomise(layer)


def quick():
    """Arguments of `compile` for a few steps: JAX is slow without compilation, TensorFlow with."""
    return {"run_eagerly": keras.backend.backend() == "tensorflow"}


def predict(model, inputs):
    """Outputs of a model that need not have been compiled."""
    if not model.compiled:
        model.compile(**quick())
    return model.predict_on_batch(inputs)


def train_outputs(model, inputs):
    """What the model computes in training; JAX compiles the whole sooner than each operation."""
    if keras.backend.backend() != "jax":
        return model(inputs, training=True)
    import jax

    call = jax.jit(functools.partial(model.stateless_call, training=True))
    weights = (
        [v.value for v in some]
        for some in (model.trainable_variables, model.non_trainable_variables)
    )
    return call(*weights, inputs)[0]


def _history(schema, sequence, batch, rng):
    length, (rows, width) = sequence.max_length, schema.packed_inputs()[sequence.name][0]
    lengths = rng.integers(0, length + 1, batch)
    lengths[0], lengths[-1] = 0, length
    there = np.arange(length)[None] >= length - lengths[:, None]
    packed = np.zeros((batch, rows, width), "int32")
    for name, columns in schema.history_columns(sequence.name).items():
        high = {"#action": sequence.num_actions, "#ratio": 14, "#groups": 1 << len(sequence.groups)}
        high = high.get(name) or schema.feature(name).num_ids
        shape = (batch, rows, columns.stop - columns.start)
        packed[:, :, columns] = rng.integers(0, high, shape)
    packed[:, :, 0] = rng.integers(1, schema.feature(sequence.fields[0]).num_ids, (batch, rows))
    history = {sequence.name: packed * there[:, :, None]}
    if sequence.ages:
        history[f"{sequence.name}_age"] = (rng.integers(0, 23, (batch, rows)) * there).astype(
            "int32"
        )
    return history
