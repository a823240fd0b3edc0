import functools
import json

import keras
import numpy as np
import pytest

from keras_infnet import FeatureSchema
from keras_infnet.encoding.requests import example_request, frame_to_request
from keras_infnet.serving.artefacts import fingerprint, markdown
from keras_infnet.serving.requests import read_signatures
from keras_infnet.serving.signatures import ExportOptions

# `test_saved_model.py` asks an export of a model that JAX has trained.
pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def extra(ranker):
    return ranker.path / "assets.extra"


@pytest.fixture(scope="module")
def card(extra):
    return json.loads((extra / "model_card.json").read_text("utf-8"))


@functools.cache
def signatures_of(path):
    import tensorflow as tf

    return tf.saved_model.load(str(path)).signatures


def served(ranker, name, request):
    import tensorflow as tf

    tensors = {key: tf.constant(values) for key, values in request.items()}
    return signatures_of(ranker.path)[name](**tensors)


def parsed(message):
    """Signature and arrays of a PredictRequest, as TensorFlow Serving's own package reads it."""
    import tensorflow as tf

    arrays = {key: tf.make_ndarray(value) for key, value in message.inputs.items()}
    return message.model_spec.signature_name, arrays


def same_arrays(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        values = found[name]
        if array.dtype == object:
            array = np.array([str(text).encode() for text in array.ravel()]).reshape(array.shape)
            values = values.astype("S")
        np.testing.assert_array_equal(values, array, err_msg=name)


def test_the_schema_lies_beside_the_graph(ranker, extra):
    plain = json.loads((extra / "schema.json").read_text("utf-8"))
    assert FeatureSchema.from_dict(plain) == ranker.encoder.schema


def test_the_example_request_is_one_of_tensorflow_serving(ranker, extra):
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    message = PredictRequest.FromString((extra / "request.pb").read_bytes())
    signature, arrays = parsed(message)
    assert (message.model_spec.name, signature) == ("ranker", "serving_default")
    request = frame_to_request(ranker.encoder.schema, ranker.rows.iloc[:64])
    same_arrays(arrays, {name: values[:2] for name, values in request.items()})


def test_the_rest_request_is_answered_as_keras_answers_its_rows(ranker, extra):
    plain = json.loads((extra / "request.json").read_text("utf-8"))
    assert plain["signature_name"] == "serving_default"
    inputs = ranker.encoder.schema.raw_inputs()
    request = {
        name: np.array(values, object if inputs[name][1] == "string" else inputs[name][1])
        for name, values in plain["inputs"].items()
    }
    found = served(ranker, "serving_default", request)
    expected = ranker.model.predict(ranker.encoder.transform(ranker.rows.iloc[:2]), verbose=0)
    for task in ("click", "like"):
        np.testing.assert_allclose(found[task], expected[task], atol=1e-5)


def test_the_server_warms_up_every_signature(ranker, extra):
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = tf.data.TFRecordDataset(str(extra / "tf_serving_warmup_requests"))
    logs = [PredictionLog.FromString(record) for record in records.as_numpy_iterator()]
    requests = [parsed(log.predict_log.request) for log in logs]
    assert {name for name, _ in requests} == set(read_signatures(ranker.path))
    for name, arrays in requests:
        assert all(np.isfinite(v.numpy()).all() for v in served(ranker, name, arrays).values())


def test_a_fingerprint_says_which_part_differs(ranker, extra):
    recorded = json.loads((extra / "fingerprint.json").read_text("utf-8"))
    options = ExportOptions(user_state=True)
    assert fingerprint(ranker.model, ranker.encoder, options) == recorded
    other = keras.models.clone_model(ranker.model)
    other.set_weights([weight + 1e-6 for weight in ranker.model.get_weights()])
    found = fingerprint(other, ranker.encoder, options)
    assert {k for k in found if found[k] != recorded[k]} == {"weights", "fingerprint"}
    found = fingerprint(
        ranker.model, ranker.encoder, ExportOptions(table_dtype="int8", user_state=True)
    )
    assert {k for k in found if found[k] != recorded[k]} == {"options", "fingerprint"}


def test_the_card_has_data_metrics_and_versions(ranker, card):
    rows = ranker.rows
    means = {"click": rows.is_click.mean(), "like": rows[rows.is_click == 1].is_like.mean()}
    assert card["verified_on"]["rows"] == len(rows)
    assert card["verified_on"]["mean_labels"] == pytest.approx(means)
    assert card["verified_on"]["largest_difference"] <= 1e-5
    assert card["metrics"] == {"gauc": {"click": 0.66}}
    assert card["model"] == "INFNet" and card["hyperparameters"]["dim"] == 8
    assert card["parameters"] == sum(w.size for w in ranker.model.get_weights())
    assert card["versions"]["keras"] == keras.__version__
    assert card["calibration"] is None and card["table_dtype"] == "float32"
    assert card["signatures"]["serving_default"]["outputs"]["like"] == ["float32", [-1, 1]]


def test_the_card_is_also_text(extra, card):
    text = (extra / "model_card.md").read_text("utf-8")
    assert text == markdown(card)
    assert text.startswith("# INFNet for click, like\n")
    assert "| like | is_like | BinaryTask | is_click |" in text
    assert "| gauc | click: 0.66 |" in text
    assert "## Signature `serving_default`" in text


def test_without_rows_requests_are_made_of_the_vocabularies(ranker):
    request = example_request(ranker.encoder)
    assert set(request) == set(ranker.encoder.schema.raw_inputs())
    packed = ranker.encoder.to_tensorflow()(request)
    assert (packed["categorical"].numpy() > 0).all()
    assert (packed["seen"].numpy()[:, -2:, 0] > 0).all()
    found = served(ranker, "serving_default", request)
    assert all(np.isfinite(values.numpy()).all() for values in found.values())
