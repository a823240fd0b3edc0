import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, INFNet
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import MODELS, SharedBottom
from keras_infnet.models.infnet import Form
from keras_infnet.serving import export, rank, signatures, user_state
from keras_infnet.serving.rank import best_candidates
from keras_infnet.serving.requests import FINGERPRINT, score_inputs
from keras_infnet.serving.signatures import ExportOptions
from tests import tiny
from tests.logs import funnel_log, log_schema, make_log

ITEM = ("video_id", "page_id", "tag", "length", "image")
OPTIONS = {
    "num_own_proxies": 2,
    "num_encoder_layers": 1,
    "num_blocks": 2,
    "form": Form(gate="interpolate", pooling="attention"),
}
NAMES = {
    "version 1": lambda s: INFNet.paper_v1(s, dim=8),
    "version 2": lambda s: INFNet.paper_v2(s, dim=8),
    "members": lambda s: INFNet(s, dim=8, members=2, beta=0.1),
    "options": lambda s: INFNet(s, dim=8, members=2, **OPTIONS),
    **{name: lambda s, make=make: make(s, dim=8) for name, make in MODELS.items()},
}
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is made under TensorFlow"
)


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema(entire_space=True)).fit(funnel_log())


@pytest.fixture(scope="module")
def pairs(encoder):
    """One user's row with the items of 7 rows."""
    log = make_log(seed=4)
    rows = Histories(encoder, log).attach(log)
    row = int(rows["seen_video_id"].map(len).argmax())
    of_user = rows.iloc[[row] * 7].reset_index(drop=True)
    items = rows.iloc[20:27].reset_index(drop=True)
    return of_user.assign(**{name: items[name] for name in ITEM})


@pytest.fixture(scope="module")
def request_of_rank(encoder, pairs):
    request = frame_to_request(encoder.schema, pairs)
    return {name: x if name in ITEM else x[:1] for name, x in request.items()}


def graph_of(encoder, make):
    keras.utils.set_random_seed(0)
    return tiny.randomise(make(encoder.schema), scale=0.2)


@pytest.fixture(scope="module")
def signed(encoder):
    """A model and its signatures, without a file."""
    model = graph_of(encoder, lambda s: INFNet(s, dim=8))
    options = ExportOptions(score={"click": 1.0, "like": 2.0}, top_k=3)
    encode = encoder.to_tensorflow()
    return model, signatures.make_signatures(model, encode, encoder.schema, options)


def call(signature, request):
    import tensorflow as tf

    outputs = signature(**{name: tf.constant(x) for name, x in request.items()})
    return {name: x.numpy() for name, x in outputs.items()}


@tensorflow_only
@pytest.mark.parametrize("name", NAMES)
def test_rank_answers_as_the_keras_model_does_for_the_pairs(encoder, pairs, request_of_rank, name):
    model, schema = graph_of(encoder, NAMES[name]), encoder.schema
    raw = {n: keras.ops.convert_to_tensor(x) for n, x in request_of_rank.items()}
    encode = encoder.to_tensorflow()
    served = rank.rank_outputs(model, encode, schema, raw)
    expected = tiny.predict(model, encoder.transform(pairs))
    scored = by_state(model, encode, schema, raw)
    for task in ("click", "like"):
        np.testing.assert_allclose(served[task], expected[task], atol=1e-5)
        np.testing.assert_allclose(scored[task], served[task], atol=1e-6)


def by_state(model, encode, schema, raw, dtype="float32"):
    """`score` of a request of `rank`, by the state of its user."""
    of_user = {n: raw[n] for n in schema.raw_inputs(("user",))}
    state = user_state.state_outputs(model, encode, schema, of_user, dtype)
    number = {FINGERPRINT: keras.ops.array(7, "int64")}
    given = {n: raw[n] for n in score_inputs(schema)} | state | number
    return user_state.score_outputs(model, encode, schema, given, 7)


@tensorflow_only
def test_the_graph_of_rank_scores_chunk_by_chunk(encoder, pairs, request_of_rank, monkeypatch):
    monkeypatch.setattr(rank, "chunk_size", lambda schema: 3)
    model, encode = graph_of(encoder, lambda s: SharedBottom(s, dim=8)), encoder.to_tensorflow()
    graph = signatures.make_signatures(model, encode, encoder.schema, ExportOptions())
    expected = tiny.predict(model, encoder.transform(pairs))
    for number in (7, 3, 1, 0):
        request = {n: x[:number] if n in ITEM else x for n, x in request_of_rank.items()}
        served = call(graph["rank"], request)
        np.testing.assert_allclose(served["like"], expected["like"][:number], atol=1e-5)
        assert served["click"].shape == (number, 1)
    # Outside of the loop over chunks, the user's columns are multiplied: beside zeros, once.
    products = [op for op in graph["rank"].graph.get_operations() if op.type == "MatMul"]
    shapes = [[x.shape.as_list() for x in op.inputs] for op in products]
    width, units = model.get_layer("shared_0").kernel.shape
    assert shapes.count([[1, width], [width, units]]) == 1
    powers, k = np.array([-1, 0.5], "float32"), np.int32(9)
    best = call(graph["rank_top_k"], request_of_rank | {"exponents": powers, "k": k})
    score = (expected["click"] ** -1 * expected["like"] ** 0.5)[:, 0]
    np.testing.assert_array_equal(best["index"], np.argsort(-score))


def test_long_histories_have_smaller_chunks(encoder):
    assert rank.chunk_size(log_schema(max_length=1000)) == 65_536 // 1003
    assert rank.chunk_size(log_schema(max_length=10**6)) == 1
    assert rank.chunk_size(FeatureSchema([CategoricalFeature("v", "item")], [BinaryTask("c")])) > 1


@tensorflow_only
def test_inputs_are_the_features_with_one_row_or_one_for_each_candidate(signed, encoder):
    rank, top_k = (signed[1][n].structured_input_signature[1] for n in ("rank", "rank_top_k"))
    found = {n: (tuple(spec.shape[1:]), spec.dtype.name) for n, spec in rank.items()}
    assert found == encoder.schema.raw_inputs()
    assert {n for n, spec in rank.items() if spec.shape[0] is None} == set(ITEM)
    assert {spec.shape[0] for spec in rank.values()} == {None, 1}
    assert set(top_k) == set(rank)


@tensorflow_only
def test_top_k_are_the_best_by_the_score_of_the_export(signed, pairs, encoder, request_of_rank):
    model, graph = signed
    expected = tiny.predict(model, encoder.transform(pairs))
    score = (expected["click"] * expected["like"] ** 2)[:, 0]
    best = call(graph["rank_top_k"], request_of_rank)
    index = np.argsort(-score)[:3]
    np.testing.assert_array_equal(best["index"], index)
    np.testing.assert_allclose(best["score"], score[index], rtol=1e-4)
    for task in ("click", "like"):
        np.testing.assert_allclose(best[task], expected[task][index], atol=1e-5)
    none = {n: x[:0] if n in ITEM else x for n, x in request_of_rank.items()}
    assert {n: x.shape for n, x in call(graph["rank_top_k"], none).items()} == {
        "index": (0,), "score": (0,), "click": (0, 1), "like": (0, 1)
    }  # fmt: skip


@tensorflow_only
def test_strange_requests_of_rank_are_served(signed, encoder, request_of_rank):
    request = dict(request_of_rank)
    for name, (shape, dtype) in encoder.schema.raw_inputs().items():
        if name.startswith(("seen_", "liked_")):
            request[name] = np.zeros((1, 0, *(1 for _ in shape[1:])), request[name].dtype)
        elif dtype == "string":
            request[name] = np.full(request[name].shape, "\N{SNOWMAN} unheard of", object)
    served = call(signed[1]["rank"], request)
    assert all(x.shape == (7, 1) and np.isfinite(x).all() for x in served.values())


@tensorflow_only
@pytest.mark.parametrize("name", ["video_id", "image"])
def test_features_of_different_numbers_of_candidates_are_an_error(signed, request_of_rank, name):
    import tensorflow as tf

    request = request_of_rank | {name: request_of_rank[name][:-1]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="the inputs differ in rows: .*have"):
        call(signed[1]["rank"], request)


def as_example(values, schema):
    """One row of a request as a serialised `tf.Example`, without padding."""
    import tensorflow as tf

    kinds = {
        "string": ("bytes_list", tf.train.BytesList),
        "int64": ("int64_list", tf.train.Int64List),
    }
    features = {}
    for name, (shape, dtype) in schema.raw_inputs().items():
        rows = np.atleast_1d(values[name])
        there = [x for x in rows.reshape(-1) if x not in ("", -1) and x == x]
        if name in ("seen_tag", "tag"):
            lengths = [sum(x != "" for x in row) for row in rows] if shape[1:] else []
            count = tf.train.Int64List(value=lengths)
            features |= {f"{name}_lengths": tf.train.Feature(int64_list=count)} if lengths else {}
        elif name.startswith(("seen_", "liked_")):
            there = list(rows)
        kind, make = kinds.get(dtype, ("float_list", tf.train.FloatList))
        value = make(value=[x.encode() if dtype == "string" else x for x in there])
        if there:
            features[name] = tf.train.Feature(**{kind: value})
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@tensorflow_only
def test_examples_are_answered_as_raw_features_are(signed, encoder, pairs):
    request = frame_to_request(encoder.schema, pairs)
    serialised = [
        as_example({name: x[i] for name, x in request.items()}, encoder.schema) for i in range(7)
    ]
    served = call(signed[1]["examples"], {"examples": np.array(serialised, object)})
    expected = call(signed[1]["serving_default"], request)
    for task in ("click", "like"):
        np.testing.assert_allclose(served[task], expected[task], atol=1e-6)
    image = np.zeros(3, "float32")
    empty = {n: np.zeros(0) for n in request} | {"image": image}
    served = call(signed[1]["examples"], {"examples": [as_example(empty, encoder.schema)]})
    assert all(np.isfinite(x).all() for x in served.values())


def small(features, tasks, frame):
    encoder = FeatureEncoder(FeatureSchema(features, tasks)).fit(frame)
    return SharedBottom(encoder.schema, dim=4), encoder


@tensorflow_only
def test_without_a_feature_of_the_item_there_is_no_rank():
    frame = pd.DataFrame({"who": list("ab"), "click": [0, 1]})
    model, encoder = small([CategoricalFeature("who", "user")], [BinaryTask("click")], frame)
    graph = signatures.make_signatures(
        model, encoder.to_tensorflow(), encoder.schema, ExportOptions()
    )
    assert sorted(graph) == ["examples", "serving_default"]


@tensorflow_only
@pytest.mark.parametrize("exponents, message", [([1.0], "Shape"), ([1.0, np.nan], "exponents")])
def test_exponents_that_give_no_score_are_an_error(exponents, message):
    import tensorflow as tf

    best = tf.function(lambda e: best_candidates({"a": [[0.5]], "b": [[0.5]]}, ("a", "b"), e, 1))
    signature = best.get_concrete_function(tf.TensorSpec(None, "float32"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signature(tf.constant(exponents, "float32"))


def test_each_unit_of_a_task_has_an_exponent():
    import tensorflow as tf

    outputs = {"a": [[0.5], [0.25], [1.0]], "b": [[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]]}
    outputs = {task: tf.constant(values) for task, values in outputs.items()}
    best = best_candidates(outputs, ("a", "b"), tf.constant([1.0, 0.0, 2.0]), 2)
    np.testing.assert_array_equal(best["index"], [0, 2])
    np.testing.assert_allclose(best["score"], [0.5 * 0.8**2, 0.5**2], rtol=1e-5)
    np.testing.assert_allclose(best["b"], [[0.2, 0.8], [0.5, 0.5]])


@tensorflow_only
def test_chunks_keep_the_units_of_each_task():
    import tensorflow as tf

    x = tf.reshape(tf.range(10.0), (5, 2))

    def score(part):
        return {"a": part["x"][:, :1], "b": part["x"]}

    found = rank._in_chunks(score, {"x": x}, {"a": 1, "b": 2}, 2)
    np.testing.assert_array_equal(found["a"], x[:, :1])
    np.testing.assert_array_equal(found["b"], x)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"score": {"click": 1, "buy": 2}}, "`score` has `buy`; expected tasks .*click, like"),
        ({"score": {"click": float("nan")}}, "expected exponents that are numbers"),
        ({"score": {"click": 0}}, "one of them not 0"),
        ({"top_k": 0}, "top_k=0; expected 1 or more"),
    ],
)
def test_a_score_that_no_request_could_have_is_refused(encoder, tmp_path, arguments, message):
    model = SharedBottom(encoder.schema, dim=4)
    with pytest.raises(ValueError, match=message):
        export(model, encoder, tmp_path, version=1, **arguments)
