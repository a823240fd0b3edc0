"""Small fitted schemas, random packed inputs and labels for tests of layers and models."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.event_quantity import Age, Ratio
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

FEATURES = (
    CategoricalFeature("user_id", "user"),
    CategoricalFeature("video_id", "item"),
    CategoricalFeature("tag", "item", max_values=3, weights="tag_weight"),
    NumericFeature("duration", "item"),
    CategoricalFeature("author_id", "item"),
    CategoricalFeature("last_video_id", "user", table="video_id"),
    CategoricalFeature("tab", "context"),
    DenseFeature("image", "item", dim=5),
)
SIZES = {
    "user_id": 12,
    "video_id": 30,
    "tag": 9,
    "duration": 7,
    "author_id": 11,
    "tab": 4,
}
BASE_RATES = {"click": 0.4, "like": 0.05, "long_view": 0.3}
TASKS = (
    BinaryTask("click"),
    # Of the entire space: models of a funnel want it, and others don't ask.
    BinaryTask("like", loss_weight=2.0, observed_when="click", entire_space=True),
    BinaryTask("long_view"),
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
)
POSITIVES = (
    History("clicked", ("video_id",), max_length=7, where="click"),
    History("liked", ("video_id",), max_length=3, where="like"),
    History("long_viewed", ("video_id",), max_length=5, where="long_view"),
    History("followed", ("video_id",), max_length=2, where="follow"),
)
MIXED = (
    History(
        "clicked",
        ("video_id", "author_id"),
        max_length=4,
        where="click",
        groups=(
            HistoryGroup("all"),
            HistoryGroup("hour", within="1h"),
            HistoryGroup("day", within="1d"),
            HistoryGroup("newest", last=2),
        ),
    ),
    History("searched", ("tab",), max_length=3, quantities=()),
    History("liked", ("video_id", "author_id"), max_length=2, where="like"),
)


# JAX compiles for seconds: there, one model of each kind shows what all have of one mechanism.
ON_BOTH = ("INFNet", "SharedBottom", "DCNv2", "PLE", "DIEN")


def marked(names, *more, on_both=ON_BOTH):
    """Parameters of a test by model; names that are not in `on_both` are for one backend."""
    one = pytest.mark.one_backend
    return [pytest.param(name, *more, marks=() if name in on_both else one) for name in names]


def schema(history="exposures", tasks=TASKS, features=FEATURES, rates=None):
    """A fitted schema with `history` "exposures", "positives", "mixed" or "none"."""
    histories = {"exposures": (EXPOSURES,), "positives": POSITIVES, "mixed": MIXED, "none": ()}
    return sized(FeatureSchema(features, tasks, histories[history]), rates)


def sized(schema, rates=None):
    """The schema with the sizes and base rates of these tests."""
    tables = {owner.name for owner in schema.table_owners()}
    sizes = {name: size for name, size in SIZES.items() if name in tables}
    for history in schema.histories:
        sizes |= {f"{history.name}/#action": 6} if history.actions else {}
    known = {**BASE_RATES, **(rates or {})}
    rates = {name: rate for name, rate in known.items() if name in schema.task_names}
    return schema.with_sizes(sizes, "string", rates)


def longer(schema, by):
    """The schema with room for `by` more events in each history."""
    grown = [dataclasses.replace(s, max_length=s.max_length + by) for s in schema.histories]
    return dataclasses.replace(schema, histories=grown)


def inputs(schema, batch=6, seed=0):
    """Random packed inputs: padding on the left, mixed lengths, empty histories in row 0."""
    rng = np.random.default_rng(seed)
    packed = {}
    if schema.one_valued:
        columns = [rng.integers(0, schema.num_ids(f.name), batch) for f in schema.one_valued]
        packed["categorical"] = np.stack(columns, 1).astype("int32")
    if schema.numeric:
        packed["numbers"] = _numbers([f.number_bins for f in schema.numeric], batch)
    if schema.bags:
        columns = [rng.integers(0, schema.num_ids(f.name), (batch, f.width)) for f in schema.bags]
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
    # Products of three random tokens would saturate what follows them.
    scales = [scale / 8 if "cross_" in w.path else scale for w in layer.weights]
    layer.set_weights(
        [
            rng.normal(0, s, w.shape).astype(w.dtype)
            for s, w in zip(scales, layer.weights, strict=True)
        ]
    )
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


def _numbers(bins, batch):
    """Random numbers by the bins of their columns, of a generator of their own."""
    rng = np.random.default_rng(7)
    sizes = [n for of_feature in bins for n in of_feature]
    columns = [rng.uniform(0, n, batch) if n else rng.normal(size=batch) for n in sizes]
    return np.stack(columns, -1).astype("float32")


def _history(schema, sequence, batch, rng):
    length, (rows, width) = sequence.max_length, schema.packed_inputs()[sequence.name][0]
    lengths = rng.integers(0, length + 1, batch)
    lengths[0], lengths[-1] = 0, length
    there = np.arange(length)[None] >= length - lengths[:, None]
    packed = np.zeros((batch, rows, width), "int32")
    for name, columns in schema.history_columns(sequence.name).items():
        high = {"#action": 6, "#ratio": 14, "#groups": 1 << len(sequence.groups)}
        if name.endswith("#numbers"):
            bins = schema.feature(name.removesuffix("#numbers")).number_bins
            packed[:, :, columns] = 2**24 + np.rint(2**16 * _numbers([bins], (batch, rows)))
            continue
        high = high.get(name) or schema.id_sizes()[sequence.name][name]
        shape = (batch, rows, columns.stop - columns.start)
        packed[:, :, columns] = rng.integers(0, high, shape)
    packed[:, :, 0] = rng.integers(1, schema.num_ids(sequence.fields[0]), (batch, rows))
    history = {sequence.name: packed * there[:, :, None]}
    for quantity in sequence.of_row:
        ids = rng.integers(0, quantity.program(None).num_ids, (batch, rows)) * there
        history[f"{sequence.name}_{quantity.key}"] = ids.astype("int32")
    return history
