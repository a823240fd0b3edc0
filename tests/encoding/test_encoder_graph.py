"""The encoder in pandas, in tf.data and in a SavedModel give the same ids, whatever the values."""

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.requests import frame_to_request
from tests.logs import ACTIONS, log_schema, make_log

TEXT = st.one_of(st.sampled_from(["NL", "PT", "日本", "a", "b", "", None]), st.text(max_size=6))
BIG = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.one_of(st.just(float("nan")), st.floats(allow_infinity=False, width=32))


@functools.cache
def fitted():
    return FeatureEncoder(log_schema()).fit(make_log())


@functools.cache
def encoder_module():
    return fitted().to_tensorflow()


@functools.cache
def graph():
    import tensorflow as tf

    specs = {
        name: tf.TensorSpec((None, *shape), dtype)
        for name, (shape, dtype) in fitted().schema.raw_inputs().items()
    }
    return tf.function(encoder_module(), input_signature=[specs], autograph=False)


@functools.cache
def saved(folder):
    import tensorflow as tf

    module = tf.Module()
    module.encoder = encoder_module()
    module.serve = graph()
    tf.saved_model.save(module, folder, signatures=None)
    return tf.saved_model.load(folder).serve


def same(frame, serve):
    import tensorflow as tf

    request = {k: tf.constant(v) for k, v in frame_to_request(fitted().schema, frame).items()}
    expected, found = fitted().transform(frame), serve(request)
    assert set(found) == set(expected) == set(fitted().schema.packed_inputs())
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), array, err_msg=name)
        assert found[name].dtype.name == str(array.dtype)


@st.composite
def rows(draw):
    def row():
        n = draw(st.integers(0, 9))
        words = draw(st.lists(TEXT, max_size=4))
        listed = functools.partial(st.lists, min_size=n, max_size=n)
        event = {f"seen_{a}": draw(listed(st.sampled_from([-1, 0, 1]))) for a in ACTIONS}
        ages = draw(listed(st.integers(-1, 2**45)))
        likes = draw(st.integers(0, 4))
        return event | {
            "user_id": draw(st.one_of(st.integers(-1, 15), BIG)),
            "country": draw(TEXT),
            "video_id": draw(st.one_of(st.integers(-1, 35), BIG)),
            "page_id": draw(BIG),
            "query": draw(TEXT),
            "tag": draw(st.one_of(st.none(), st.text("123, ", max_size=8))),
            "word": words,
            "word_weight": [1.0 + i for i in range(len(words))],
            "length": draw(NUMBER),
            "fans": draw(st.floats(allow_nan=False, allow_infinity=False, width=32)),
            "image": [1.0, 2.0, 3.0],
            "seen_video_id": draw(listed(st.integers(-1, 35))),
            "seen_tag": draw(listed(st.lists(st.sampled_from(["1", "2", "x", ""]), max_size=4))),
            "seen_length": draw(listed(NUMBER)),
            "seen_page_id": draw(listed(BIG)),
            "seen_ratio": draw(
                listed(st.one_of(st.just(float("nan")), st.floats(-1, 5, width=32)))
            ),
            "seen_age_seconds": sorted(ages, reverse=True),
            "liked_video_id": draw(st.lists(st.integers(-1, 35), min_size=likes, max_size=likes)),
            "liked_age_seconds": [-1] * likes,
        }

    return pd.DataFrame([row() for _ in range(draw(st.integers(1, 4)))]).astype(
        {"country": "str", "query": "str", "tag": "str"}
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows())
def test_pandas_and_tf_data_agree_on_strange_values(frame):
    same(frame, graph())


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(frame=rows())
def test_pandas_and_the_saved_model_agree_on_strange_values(tmp_path_factory, frame):
    folder = tmp_path_factory.getbasetemp() / "encoder"
    same(frame, saved(str(folder)))


def test_a_log_with_its_histories_agrees():
    log = make_log(seed=3)
    same(Histories(fitted(), log).attach(log), graph())


@pytest.mark.parametrize("side", ["left", "right", "between"])
def test_request_histories_may_be_padded_anywhere(side):
    import tensorflow as tf

    log = make_log(seed=3)
    frame = Histories(fitted(), log).attach(log)
    request = frame_to_request(fitted().schema, frame)
    for name, (_shape, dtype) in fitted().schema.raw_inputs().items():
        if name.startswith(("seen_", "liked_")):
            fill = {"string": "", "int64": -1, "float32": np.nan}[dtype]
            pad = np.full((len(log), 2, *request[name].shape[2:]), fill, request[name].dtype)
            parts = {
                "left": [pad, request[name]],
                "right": [request[name], pad],
                "between": [request[name][:, :1], pad, request[name][:, 1:]],
            }[side]
            request[name] = np.concatenate(parts, axis=1)
    found = graph()({k: tf.constant(v) for k, v in request.items()})
    for name, array in fitted().transform(frame).items():
        np.testing.assert_array_equal(found[name].numpy(), array, err_msg=name)


def test_a_value_unknown_to_a_vocabulary_without_unknown_ids_is_served_as_missing():
    import tensorflow as tf

    from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema

    schema = FeatureSchema([CategoricalFeature("a", "user", oov_buckets=0)], [BinaryTask("click")])
    encoder = FeatureEncoder(schema).fit(pd.DataFrame({"a": ["x", "y"], "click": [0, 1]}))
    found = encoder.to_tensorflow()({"a": tf.constant(["y", "z", ""])})
    assert found["categorical"].numpy().tolist() == [[2], [0], [0]]
