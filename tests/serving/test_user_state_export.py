"""Exports with states: dtypes, calibration, and what is refused."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    NumericFeature,
    RelativeFeature,
)
from keras_infnet.calibration import fit_calibration
from keras_infnet.data import FeatureEncoder
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import SharedBottom
from keras_infnet.serving import answers, export
from keras_infnet.serving.requests import rank_request, read_signatures
from keras_infnet.serving.signatures import ExportOptions, make_signatures
from tests import tiny
from tests.serving.conftest import difference_of

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the graph is made under TensorFlow"
)


@pytest.mark.one_backend
def test_tables_of_int8_states_of_float16_and_calibration_go_together(fitted, attached, tmp_path):
    model = tiny.randomise(SharedBottom(fitted.schema, dim=4), scale=0.2)
    predicted = tiny.predict(model, fitted.transform(attached))
    noise = np.random.default_rng(0).normal(size=(len(attached), 1))
    labels = {t: (p + p.std() * noise > p.mean())[:, 0].astype(int) for t, p in predicted.items()}
    calibration = fit_calibration(labels, predicted, method="platt")
    given = {"table_dtype": "int8", "state_dtype": "float16", "calibration": calibration}
    path = export(model, fitted, tmp_path / "ranker", attached, user_state=True, **given)
    assert 0 < difference_of(path) <= 1e-2
    state = read_signatures(path)["user_state"]["outputs"]
    dtypes = {dtype for dtype, _ in state.values()}
    assert (
        dtypes == {"float16", "float32", "int32", "int64"}
        and state["user_state_fingerprint"][1] == ()
    )
    signatures = answers.load_signatures(path)
    request = rank_request(fitted.schema, frame_to_request(fitted.schema, attached.iloc[:9]))
    scored = answers.ask_by_state(signatures, request)
    ranked = answers.ask(signatures["rank"], request)
    for task in ("click", "like"):
        np.testing.assert_allclose(scored[task], ranked[task], atol=1e-3)
        assert np.std(ranked[task]) > 1e-3


@tensorflow_only
def test_without_history_or_context_a_state_has_the_users_features_alone():
    frame = pd.DataFrame(
        {"who": list("abab"), "price": [1.0, 2.0, 5.0, 3.0], "click": [0, 1, 1, 0], "l": [1] * 4}
    )
    features = [
        CategoricalFeature("who", "user"),
        NumericFeature("price", "item"),
        RelativeFeature("place", "item", of="price"),
    ]
    schema = FeatureSchema(features, [BinaryTask("click")], list_key="l", user_key="who")
    encoder = FeatureEncoder(schema).fit(frame.assign(place=[0.0, 0.3, 1.0, 0.6]))
    model = tiny.randomise(SharedBottom(encoder.schema, dim=4), scale=0.2)
    options = ExportOptions(user_state=True)
    graph = make_signatures(model, encoder.to_tensorflow(), encoder.schema, options, 5)
    names = {"user_state_packed_categorical", "user_state_fingerprint"}
    assert set(graph["user_state"].structured_outputs) == names
    request = {"who": np.array(["b"], object), "price": np.float32([4, 1, 9])}
    scored, ranked = answers.ask_by_state(graph, request), answers.ask(graph["rank"], request)
    np.testing.assert_allclose(scored["click"], ranked["click"], atol=1e-6)
    assert np.std(ranked["click"]) > 1e-4


def small(features, name):
    frame = pd.DataFrame({feature.name: list("ab") for feature in features} | {"click": [0, 1]})
    encoder = FeatureEncoder(FeatureSchema(features, [BinaryTask("click")])).fit(frame)
    return SharedBottom(encoder.schema, dim=4), encoder, name


@pytest.mark.parametrize(
    "names, message",
    [
        ({"v": "item"}, "user_state=True, and the schema has no feature or history of the user"),
        ({"u": "user"}, "user_state=True, and the schema has no feature of an item; expected"),
        ({"u": "user", "user_state_v": "item"}, "feature `user_state_v` is called like a tensor"),
    ],
)
def test_a_schema_whose_users_have_no_state_is_refused(tmp_path, names, message):
    features = [CategoricalFeature(name, owner) for name, owner in names.items()]
    model, encoder, path = small(features, tmp_path)
    with pytest.raises(ValueError, match=message):
        export(model, encoder, path, version=1, user_state=True)


def test_a_dtype_that_states_have_not_is_refused(fitted, tmp_path):
    model = SharedBottom(fitted.schema, dim=4)
    with pytest.raises(ValueError, match="state_dtype='int8'; expected float32 or float16"):
        export(model, fitted, tmp_path, version=1, user_state=True, state_dtype="int8")
