import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet.models import HyFormer
from keras_infnet.models.one_user import OneUser
from tests import tiny
from tests.reference import token_models
from tests.reference.textbook import Weights

SIZES = {"dim": 8, "num_layers": 2, "head_dim": 5}


@pytest.mark.parametrize(
    ("history", "options"),
    [
        ("exposures", {}),
        ("positives", {"encoder": "swiglu", "boost": "two"}),
        ("mixed", {"num_queries": 2, "num_heads": 1}),
        ("none", {"num_tokens": 4}),
    ],
)
def test_outputs_equal_the_formula(history, options):
    schema = tiny.schema(history)
    model = tiny.randomise(HyFormer(schema, **SIZES, **options), scale=0.3)
    x, w = tiny.inputs(schema), Weights.of(model)
    expected = token_models.hyformer(
        w,
        schema,
        x,
        options.get("num_tokens", 8),
        num_layers=2,
        num_heads=options.get("num_heads", 2),
        encoder=options.get("encoder", "transformer"),
        boost=options.get("boost", "one"),
        g=options.get("num_queries", 1),
    )
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_without_feed_forward_a_layer_adds_what_queries_read_and_leaves_the_fields():
    model = tiny.randomise(HyFormer(tiny.schema(), **{**SIZES, "num_layers": 1}), scale=0.5)
    feed = model.get_layer("boost_0_feed_forward")
    feed.set_weights([np.zeros(w.shape) for w in feed.weights])
    names = ("queries", "field_tokens")
    tensors = [*(model.get_layer(name).output for name in names), model.get_layer("norm").input]
    queries, fields, x = model.reading(tensors).predict_on_batch(tiny.inputs(model.schema))
    np.testing.assert_array_equal(x[:, 6:], fields)
    # The first row has no events.
    np.testing.assert_array_equal(x[0, :6], queries[0])
    assert np.abs(x[-1, :6] - queries[-1]).min(-1).max() > 1e-3


@pytest.mark.parametrize("encoder", ["transformer", "swiglu"])
def test_the_order_of_events_is_nothing_without_positions(encoder):
    schema = tiny.schema("exposures", tasks=tiny.TASKS[:1])
    context = ("action", "age")
    model = HyFormer(schema, **SIZES, encoder=encoder, event_context=context)
    tiny.randomise(model, scale=0.3)
    x = tiny.inputs(schema)
    turned = {name: a.copy() for name, a in x.items()}
    for b, there in enumerate(x["exposures"][:, :, 0] != 0):
        for name in ("exposures", "exposures_age"):
            turned[name][b, there] = x[name][b, there][::-1]
    assert not np.array_equal(turned["exposures"], x["exposures"])
    expected = tiny.predict(model, x)["click"]
    np.testing.assert_allclose(tiny.predict(model, turned)["click"], expected, atol=1e-6)


def swapped(path, x, fields):
    """What a weight is to histories that trade places; each has a mean and two of four queries."""
    if path.startswith("counts/"):
        return x[::-1]
    if not path.startswith("queries/"):
        return x
    if not path.endswith("kernel_0"):
        return np.roll(x, 2, axis=0)
    width, means = 8 * fields, np.roll(x[8 * fields : -8], 8, axis=0)
    return np.roll(np.concatenate([x[:width], means, x[-8:]]), 16, axis=1)


@pytest.mark.one_backend
def test_histories_that_trade_places_with_their_weights_give_the_same_queries():
    clicked, liked = (dataclasses.replace(tiny.MIXED[i], groups=()) for i in (0, 2))
    schemas = [
        dataclasses.replace(tiny.schema("none"), histories=pair)
        for pair in ((clicked, liked), (liked, clicked))
    ]
    sizes = {**SIZES, "num_queries": 2, "event_context": ()}
    one, other = (HyFormer(schema, **sizes) for schema in schemas)
    tiny.randomise(one, scale=0.3)
    # Without it boosting leaves queries as they are, and deeper layers read them so.
    for i in range(2):
        feed = one.get_layer(f"boost_{i}_feed_forward")
        feed.set_weights([np.zeros(w.shape) for w in feed.weights])
    weights, fields = Weights.of(one), len(one.schema.field_names)
    of_history = re.compile(r"^(encoder_\d|decoder_\d_[a-z]+)_([01])(?=[_/])")
    values = []
    for w in other.weights:
        path = of_history.sub(lambda found: f"{found[1]}_{1 - int(found[2])}", w.path)
        values.append(swapped(path, weights[path], fields))
    other.set_weights(values)
    x = tiny.inputs(one.schema)
    expected, found = (
        model.reading(model.get_layer("norm").input).predict_on_batch(x) for model in (one, other)
    )
    assert np.abs(expected[:, :2] - expected[:, 2:4]).max() > 0.1
    np.testing.assert_allclose(found[:, 2:4], expected[:, :2], atol=1e-6)
    np.testing.assert_allclose(found[:, :2], expected[:, 2:4], atol=1e-6)


def test_long_histories_are_encoded_without_attention():
    long = dataclasses.replace(tiny.EXPOSURES, max_length=201)
    schema = dataclasses.replace(tiny.schema(), histories=(long,))
    names = {layer.name for layer in HyFormer(schema, **SIZES).layers}
    assert "encoder_0_0_gate" in names and "encoder_0_0_attention" not in names


@pytest.mark.parametrize(
    ("history", "sizes", "expected"),
    [("exposures", {}, 8), ("exposures", {"num_queries": 2}, 16), ("none", {"num_tokens": 4}, 4)],
)
def test_the_number_of_tokens_leaves_room_for_fields(history, sizes, expected):
    model = HyFormer(tiny.schema(history), dim=16, num_layers=1, **sizes)
    assert model.get_layer("norm").input.shape[1] == expected


def test_queries_that_leave_no_token_are_an_error():
    with pytest.raises(ValueError, match="HyFormer: 12 queries.*dim=8; expected a divisor of dim"):
        HyFormer(tiny.schema(), dim=8, num_queries=2)
    with pytest.raises(ValueError, match="6 queries.*leave no token for fields with num_tokens=4"):
        HyFormer(tiny.schema(), dim=8, num_tokens=4)


@pytest.mark.parametrize("name", ["num_tokens", "num_heads"])
def test_numbers_that_do_not_divide_the_width_are_errors(name):
    with pytest.raises(ValueError, match=f"HyFormer: {name}=3 does not divide dim=8"):
        HyFormer(tiny.schema(), dim=8, **{name: 3})


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
def test_events_are_encoded_once_for_all_candidates(monkeypatch):
    schema = tiny.schema("exposures")
    model, packed = HyFormer(schema, **SIZES), tiny.inputs(schema)
    layer, calls = model.get_layer("encoder_1_0_attention"), []
    attend = layer.call
    monkeypatch.setattr(layer, "call", lambda q, *a: calls.append(q.shape) or attend(q, *a))
    of_user = ("exposures", "exposures_age")
    user = OneUser(model, {name: ops.convert_to_tensor(packed[name][-1:]) for name in of_user})
    others = {n: ops.convert_to_tensor(x) for n, x in packed.items() if n not in of_user}
    user(others), user(others)
    assert calls == [(1, 8, 8)]
