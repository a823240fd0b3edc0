import json
import shutil

import keras
import numpy as np
import pytest
from scipy.special import expit, logit

from keras_infnet.calibration import Calibration
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import SharedBottom
from keras_infnet.serving import export, verify
from keras_infnet.serving.answers import answer_range
from tests.logs import log_schema, make_log
from tests.serving.conftest import change_card
from tests.tiny import predict, quick

# The same graph, whatever trained it.
pytestmark = pytest.mark.one_backend
# A step of isotonic regression that turns a difference of 1e-6 into 0.1.
MAPS = {
    "click": {"method": "platt", "slope": 0.5, "intercept": -1.0, "negative_sampling_rate": 0.2},
    "like": {"method": "isotonic", "inputs": [0.3, 0.5, 0.500001], "outputs": [0.1, 0.2, 0.3]},
}


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def rows(encoder):
    log = make_log(60, seed=4)
    return Histories(encoder, log).attach(log)


@pytest.fixture(scope="module")
def model(encoder):
    keras.utils.set_random_seed(0)
    model = SharedBottom(encoder.schema)
    for weight in model.weights:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, dtype=weight.dtype))
    model.compile(**quick())
    return model


@pytest.fixture(scope="module")
def exported(model, encoder, rows, tmp_path_factory):
    calibration = Calibration(json.loads(json.dumps(MAPS)))
    folder = tmp_path_factory.mktemp("models")
    return export(model, encoder, folder, verify=rows, calibration=calibration)


def test_the_graph_answers_calibrated_probabilities(exported, model, encoder, rows):
    import tensorflow as tf

    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, rows).items()}
    served = tf.saved_model.load(str(exported)).signatures["serving_default"](**request)
    raw = {t: np.asarray(p, "float64") for t, p in predict(model, encoder.transform(rows)).items()}
    click = expit(0.5 * (logit(raw["click"]) + np.log(0.2)) - 1)
    like = np.interp(raw["like"], MAPS["like"]["inputs"], MAPS["like"]["outputs"])
    np.testing.assert_allclose(served["click"], click, atol=1e-5)
    np.testing.assert_allclose(served["like"], like, atol=1e-5)
    assert np.std(click) > 1e-3 and np.std(like) > 1e-3


def test_the_check_knows_the_calibration(exported, model, encoder, rows, tmp_path):
    assert verify(exported, model, encoder, rows.head(5)) < 1e-5
    uncalibrated = shutil.copytree(exported, tmp_path / "1")
    change_card(uncalibrated, calibration=None)
    with pytest.raises(ValueError, match="task `click` differs by .*expected at most 1e-05"):
        verify(uncalibrated, model, encoder, rows.head(5))


def test_a_steep_map_widens_the_range_and_no_other_does():
    predicted = {"click": np.float32([[0.5]]), "like": np.float32([[0.5], [0.4]])}
    ranges = answer_range(predicted, 1e-5, Calibration({"like": MAPS["like"]}))
    np.testing.assert_allclose(np.stack(ranges["click"])[:, 0, 0], [0.49999, 0.5, 0.50001])
    low, middle, high = np.stack(ranges["like"])[..., 0]
    np.testing.assert_allclose(middle, [0.2, 0.15])
    np.testing.assert_allclose(low, [0.2 - 5e-6 - 1e-5, 0.15 - 5e-6 - 1e-5])
    np.testing.assert_allclose(high, [0.3 + 1e-5, 0.15 + 5e-6 + 1e-5])


def test_a_task_that_the_schema_lacks_is_refused(model, encoder, tmp_path):
    calibration = Calibration({"share": MAPS["click"]})
    with pytest.raises(ValueError, match="no task `share`. Known: click, like"):
        export(model, encoder, tmp_path, version=1, calibration=calibration)
    assert not list(tmp_path.iterdir())
