import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet import CategoricalFeature, INFNet
from keras_infnet.models import (
    DIEN,
    DIN,
    HSTU,
    LONGER,
    HyFormer,
    OneTrans,
    RankMixer,
    SharedBottom,
    TokenFormer,
    UniMixer,
)
from keras_infnet.models import MODELS as MODELS_OF_PACKAGE
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


def with_one_context(schema, shared, varying, pairs):
    """The same with one row of user and context, apart; and which columns of an input they are."""
    of_user = {name: ~schema.columns_of_items(name) for name in varying}
    for name, columns in of_user.items():
        pairs[name] = pairs[name].copy()
        pairs[name][:, columns] = pairs[name][ROW, columns]
        row = ops.convert_to_tensor(pairs[name][ROW : ROW + 1, columns])
        shared = shared | ({name: row} if columns.any() else {})
        varying = varying | {name: ops.convert_to_tensor(pairs[name][:, ~columns])}
    varying = {name: x for name, x in varying.items() if x.shape[1]}
    of_both = {name: x for name, x in of_user.items() if name in shared and name in varying}
    return shared, varying, pairs, of_both


def check(model, schema, one_context=False, atol=1e-5):
    shared, varying, pairs = shared_and_varying(schema, tiny.inputs(schema, batch=5))
    of_user = None
    if one_context:
        shared, varying, pairs, of_user = with_one_context(schema, shared, varying, pairs)
    tiny.randomise(model, scale=0.2)
    user = OneUser(model, shared, of_user)
    expected = tiny.predict(model, pairs)
    for outputs, rows in (
        (user(varying), slice(None)),
        (user({n: x[1:3] for n, x in varying.items()}), slice(1, 3)),
    ):
        assert list(outputs) == list(expected)
        for task, output in outputs.items():
            np.testing.assert_allclose(output, expected[task][rows], atol=atol)
    assert max(np.std(x) for x in expected.values()) > 1e-3


def test_one_user_answers_as_the_pairs_do():
    schema = tiny.schema("mixed")
    check(INFNet(schema, dim=8, members=2), schema)


def test_members_share_an_input_that_is_the_users_alone():
    bag = CategoricalFeature("past", "user", table="video_id", max_values=3)
    schema = tiny.schema("none", features=(CategoricalFeature("video_id", "item"), bag))
    check(SharedBottom(schema, dim=4, members=2), schema, one_context=True)


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


def graph_of_rank(model, schema):
    """TensorFlow's graph of one user, history, fields and all, and any number of candidates."""
    import tensorflow as tf

    parts = shared_and_varying(schema, tiny.inputs(schema))
    shared, varying, _, of_user = with_one_context(schema, *parts)

    def rank(shared, varying):
        return OneUser(model, shared, of_user)(varying)

    specs = (
        {n: tf.TensorSpec((rows, *x.shape[1:]), x.dtype, name=n) for n, x in part.items()}
        for part, rows in ((shared, 1), (varying, None))
    )
    return tf.function(rank, autograph=False).get_concrete_function(*specs).graph


def multiplications(graph):
    """Of a product of matrices with a row for each candidate, for each of them; a list."""
    products = [op for op in graph.get_operations() if "MatMul" in op.type]
    outputs = [(op.inputs[0].shape[-1], op.outputs[0].shape) for op in products]
    return [inner * int(np.prod(shape[1:])) for inner, shape in outputs if shape[0] is None]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces a TensorFlow graph")
@pytest.mark.parametrize("name", ["FM", "PLE", "STEM"])
def test_more_fields_of_the_user_are_no_more_multiplications_for_each_candidate(name):
    first, last = (
        CategoricalFeature(name, "user", table="video_id", max_values=values)
        for name, values in (("first_video_id", 1), ("past_video_ids", 3))
    )
    found = []
    for features in (tiny.FEATURES, (*tiny.FEATURES[:3], first, *tiny.FEATURES[3:], last)):
        schema = tiny.schema("none", features=features)
        graph = graph_of_rank(MODELS_OF_PACKAGE[name](schema, dim=4), schema)
        found.append(multiplications(graph))
    assert found[0] == found[1] and sum(found[0]) > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces a TensorFlow graph")
def test_a_product_reads_the_columns_of_the_item_alone():
    schema = tiny.schema("none")
    model = SharedBottom(schema, dim=4, hidden_dims=(16,), head_dim=6)
    # Five fields of the item; the dense one is projected to a token.
    expected = [5 * 4, 5 * 4 * 16, *[16 * 6, 6] * 3]
    assert sorted(multiplications(graph_of_rank(model, schema))) == sorted(expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
@pytest.mark.parametrize("name", ["GDCN", "PLE", "WuKong"])
def test_half_precision_answers_as_the_pairs_do(name):
    schema = tiny.schema()
    model = MODELS_OF_PACKAGE[name](schema, dim=8, dtype="mixed_float16")
    check(model, schema, one_context=True, atol=1e-2)
