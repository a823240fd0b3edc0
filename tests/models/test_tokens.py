import dataclasses
import itertools

import keras
import numpy as np

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, HistoryGroup
from keras_infnet.models import FM, INFNet
from keras_infnet.models.tokens import match_patterns, num_match_patterns
from tests import tiny


def slow_patterns(schema, x):
    """Event by event; the first two ids of a field with a vocabulary are missing and unknown."""
    (sequence,) = schema.histories
    columns, history = schema.history_columns(sequence.name), x[sequence.name]
    names = [f.name for f in schema.one_valued]
    patterns = np.zeros(history.shape[:2], int)
    for row, at in np.ndindex(patterns.shape):
        for k, field in enumerate(sequence.fields):
            events = set(history[row, at, columns[field]].tolist())
            if field in names:
                mine = {int(x["categorical"][row, names.index(field)])}
            else:
                mine = set(x["bags"][row].tolist())
            known = {i for i in events & mine if i > (0 if field == "duration" else 1)}
            patterns[row, at] += 2**k * bool(known)
    return patterns


def test_patterns_equal_a_loop_over_events():
    schema = tiny.schema()
    x = tiny.inputs(schema, batch=200)
    found = np.array(match_patterns(schema, schema.histories[0], x))
    np.testing.assert_array_equal(found, slow_patterns(schema, x))
    assert set(np.unique(found)) > {0, 1, 2, 4, 8}
    assert num_match_patterns(schema.histories[0]) == 16 > found.max()


def test_hashed_values_and_several_unknown_ids_can_match():
    schema = tiny.schema()
    features = [
        dataclasses.replace(f, oov_buckets=2) if f.name == "video_id" else f
        for f in schema.features
    ]
    schema = dataclasses.replace(schema, features=features)
    x = tiny.inputs(schema)
    x["categorical"][:, 1] = 1
    x["exposures"][:, :, 0] = 1
    found = np.array(match_patterns(schema, schema.histories[0], x))
    assert (found % 2 == 1).all()


def test_histories_of_the_same_fields_may_know_other_things_of_events():
    video = CategoricalFeature("video_id", "item")
    seen = History("seen", ("video_id",), max_length=4, actions=("click",))
    outputs = []
    for groups in ((), (HistoryGroup("all"),)):
        # A history without groups has one group of all its events.
        liked = History("liked", ("video_id",), max_length=3, actions=("click",), groups=groups)
        schema = FeatureSchema([video], [BinaryTask("click")], [seen, liked])
        sizes = {"video_id": 9, "seen/#action": 4, "liked/#action": 4}
        model = tiny.randomise(FM(schema.with_sizes(sizes), dim=4))
        x = {
            "categorical": np.array([[2], [5]], "int32"),
            "seen": np.array([[[0, 0], [0, 0], [3, 1], [4, 2]]] * 2, "int32"),
            "liked": np.array([[[0, 0], [5, 3], [8, 2]]] * 2, "int32"),
            "seen_age": np.array([[0, 0, 5, 2]] * 2, "int32"),
            "liked_age": np.array([[0, 4, 1]] * 2, "int32"),
        }
        if groups:
            bits = (x["liked"][:, :, :1] != 0).astype("int32")
            x["liked"] = np.concatenate([x["liked"], bits], axis=2)
        outputs.append(np.array(tiny.predict(model, x)["click"]))
    np.testing.assert_allclose(*outputs, rtol=1e-6)


def test_the_candidate_reads_the_items_fields_in_runs_of_neighbours():
    owners = {"a": "item", "b": "item", "u": "user", "c": "item", "x": "context", "d": "item"}
    features = [CategoricalFeature(name, owner) for name, owner in owners.items()]
    schema = FeatureSchema(features, [BinaryTask("click")]).with_sizes(dict.fromkeys(owners, 9))
    network = tiny.randomise(INFNet(schema, dim=3)).member(0)
    read = network.get_layer("candidate_projection").input
    fields = network.get_layer("field_proxies").input
    ids = np.random.default_rng(0).integers(0, 9, (5, 6)).astype("int32")
    reading = keras.Model(network.input, [fields, read])
    fields, found = map(np.array, reading({"categorical": ids}))
    tokens = dict(zip(schema.field_names, fields.reshape(5, 6, 3).swapaxes(0, 1), strict=True))
    np.testing.assert_array_equal(found, np.concatenate([tokens[f] for f in "abcd"], axis=1))
    # The gradient of each slice is as wide as all fields.
    places = [schema.field_names.index(name) for name in "abcd"]
    runs = 1 + sum(b != a + 1 for a, b in itertools.pairwise(places))
    assert len(read._keras_history.operation._inbound_nodes[-1].input_tensors) == runs < 4
