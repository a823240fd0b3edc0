import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet import INFNet
from keras_infnet.models import (
    DIEN,
    DIN,
    HSTU,
    LONGER,
    HyFormer,
    OneTrans,
    RankMixer,
    TokenFormer,
    UniMixer,
)
from keras_infnet.models.infnet import Form
from keras_infnet.models.one_user import OneUser
from tests import tiny

ROW = 3
ATTENTION = Form(pooling="attention")


def shared_and_varying(schema, packed):
    """One row of the histories, all rows of the rest; and the pairs that they stand for."""
    histories = {s.name for s in schema.histories}
    histories |= {f"{s.name}_{q.key}" for s in schema.histories for q in s.of_row}
    shared = {n: x[ROW : ROW + 1] for n, x in packed.items() if n in histories}
    varying = {n: x for n, x in packed.items() if n not in histories}
    rows = len(packed["categorical"])
    pairs = varying | {n: np.repeat(x, rows, axis=0) for n, x in shared.items()}
    tensors = ({n: ops.convert_to_tensor(x) for n, x in part.items()} for part in (shared, varying))
    return *tensors, pairs


def with_one_context(schema, packed):
    """The rows with the fields of user and context of one of them."""
    same = {name: x.copy() for name, x in packed.items()}
    for feature in (f for f in schema.features if f.owner != "item"):
        columns = schema.packed_columns(feature.packed)[feature.name]
        same[feature.packed][:, columns] = packed[feature.packed][ROW, columns]
    return same


def check(model, schema, one_context=False):
    packed = tiny.inputs(schema, batch=5)
    packed = with_one_context(schema, packed) if one_context else packed
    shared, varying, pairs = shared_and_varying(schema, packed)
    tiny.randomise(model, scale=0.2)
    user = OneUser(model, shared, one_context)
    expected = tiny.predict(model, pairs)
    for outputs, rows in (
        (user(varying), slice(None)),
        (user({n: x[1:3] for n, x in varying.items()}), slice(1, 3)),
    ):
        assert list(outputs) == list(expected)
        for task, output in outputs.items():
            np.testing.assert_allclose(output, expected[task][rows], atol=1e-5)
    assert max(np.std(x) for x in expected.values()) > 1e-3


def test_one_user_answers_as_the_pairs_do():
    schema = tiny.schema("mixed")
    check(INFNet(schema, dim=8, members=2), schema)


# What only copies the rows of the user is the same on both backends.
MODELS = {
    "two blocks": lambda s: INFNet(s, dim=8, num_blocks=2, num_encoder_layers=1),
    "version 2": lambda s: INFNet.paper_v2(s, dim=8, num_blocks=2),
    "own tables": lambda s: INFNet(s, dim=8, members=2, own_tables=True),
    "attention": lambda s: INFNet(s, dim=8, form=ATTENTION, num_own_proxies=2),
    "matches": lambda s: INFNet(s, dim=8, event_context=("age", "match")),
    "version 1": lambda s: INFNet.paper_v1(s, dim=8),
    "objective": lambda s: INFNet(s, dim=8, beta=0.1),
    "DIN": lambda s: DIN(s, dim=8),
    "DIEN": lambda s: DIEN(s, dim=8),
    "HSTU": lambda s: HSTU(s, dim=8),
    "RankMixer": lambda s: RankMixer(s, dim=8),
    "HyFormer": lambda s: HyFormer(s, dim=8),
    "UniMixer": lambda s: UniMixer(s, dim=8),
    "OneTrans": lambda s: OneTrans(s, dim=8),
    "OneTrans, user apart": lambda s: OneTrans(s, dim=8, num_user_tokens=2),
    "LONGER": lambda s: LONGER(s, dim=8, num_queries=3),
    "TokenFormer": lambda s: TokenFormer(s, dim=8, windows=(4,)),
}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
@pytest.mark.parametrize("name", MODELS)
def test_so_do_several_histories_in_other_models(name):
    schema = tiny.schema("positives")
    check(MODELS[name](schema), schema)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
def test_what_no_candidate_changes_is_computed_once(monkeypatch):
    schema = tiny.schema("exposures")
    model = INFNet(schema, dim=8)
    shared, varying, _ = shared_and_varying(schema, tiny.inputs(schema))
    layer, calls = model.get_layer("sequence_proxies"), []
    pool = layer.call
    monkeypatch.setattr(layer, "call", lambda *a: calls.append(a[0].shape) or pool(*a))
    user = OneUser(model, shared)
    user(varying), user(varying)
    assert calls == [(1, 8, 8)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
def test_what_user_and_context_look_for_is_computed_once_where_candidates_share_them(monkeypatch):
    schema = tiny.schema("exposures")
    model = INFNet(schema, dim=8, form=ATTENTION, members=2)
    layer, calls = model.member(1).get_layer("attention_proxies"), []
    attend = layer.call
    monkeypatch.setattr(
        layer, "call", lambda s, g, c: calls.append((s.shape[0], c.shape[0])) or attend(s, g, c)
    )
    check(model, schema, one_context=True)
    # A prediction of the pairs, and two requests.
    assert calls == [(5, 5), (1, 1), (1, 1)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
@pytest.mark.parametrize(
    ("make", "layer", "calls_before"),
    [
        # Events once for all requests.
        (functools.partial(OneTrans, num_user_tokens=2), "attention_0", [1, 5, 5, 5]),
        (LONGER, "layer_0_attention", [1, 5, 5, 5]),
        # Events that have read fields, once a request.
        (TokenFormer, "attention_0", [5, 5]),
    ],
    ids=["OneTrans", "LONGER", "TokenFormer"],
)
def test_events_and_tokens_of_the_user_are_computed_once(monkeypatch, make, layer, calls_before):
    schema = tiny.schema("exposures")
    model, calls = make(schema, dim=8), []
    layer = model.get_layer(layer)
    attend = layer.call
    monkeypatch.setattr(layer, "call", lambda *a: calls.append(a[0].shape[0]) or attend(*a))
    check(model, schema, one_context=True)
    # A prediction of the pairs, and two requests, of 5 and of 2 candidates.
    assert sorted(calls) == sorted([*calls_before, 1, 5, 1, 2])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces a TensorFlow graph")
@pytest.mark.parametrize(
    "make",
    [
        INFNet,
        functools.partial(INFNet, beta=0.1),
        INFNet.paper_v1,
        functools.partial(INFNet, form=ATTENTION, num_own_proxies=2),
        OneTrans,
        functools.partial(LONGER, events_per_token=1),
        functools.partial(TokenFormer, num_full_layers=0, windows=(22,)),
    ],
    ids=["default", "objective", "version 1", "attention", "OneTrans", "LONGER", "TokenFormer"],
)
def test_no_candidate_has_a_copy_of_the_history(make):
    import tensorflow as tf

    schema = tiny.longer(tiny.schema("exposures"), 13)
    model, length = make(schema, dim=8), 21
    histories = ("exposures", "exposures_age")
    specs = {
        name: tf.TensorSpec((1 if name in histories else None, *shape), dtype)
        for name, (shape, dtype) in schema.packed_inputs().items()
    }

    @tf.function(autograph=False)
    def rank(packed):
        shared = {name: packed[name] for name in histories}
        return OneUser(model, shared)({n: x for n, x in packed.items() if n not in shared})

    operations = rank.get_concrete_function(specs).graph.get_operations()
    shapes = [x.shape.as_list() for o in operations for x in o.outputs if x.shape.rank]
    assert [1, length, 8] in shapes
    copies = [shape for shape in shapes if shape[0] is None and length in shape[1:-1]]
    scores = [shape for shape in shapes if shape[0] is None and shape[-1] == length]
    assert scores and not copies
