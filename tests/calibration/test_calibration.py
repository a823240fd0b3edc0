import json

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from keras_infnet import BinaryTask, FeatureSchema, NumericFeature, RegressionTask
from keras_infnet.calibration import Calibration, correct_negative_sampling

KNOTS, VALUES = [0.1, 0.2, 0.6], [0.05, 0.3, 0.3]
MAPS = {
    "platt": {"method": "platt", "slope": 0.5, "intercept": -1.5},
    "temperature": {"method": "temperature", "slope": 0.25},
    "isotonic": {"method": "isotonic", "inputs": KNOTS, "outputs": VALUES},
    "constant": {"method": "isotonic", "inputs": [0.3], "outputs": [0.2]},
    "sampled": {"method": "none", "negative_sampling_rate": 0.1},
    "both": {"method": "platt", "slope": 2.0, "negative_sampling_rate": 0.1},
}
FORMULAS = {
    "platt": lambda p: expit(0.5 * logit(p) - 1.5),
    "temperature": lambda p: expit(logit(p) / 4),
    "isotonic": lambda p: np.interp(p, KNOTS, VALUES),
    "constant": lambda p: np.full_like(p, 0.2),
    "sampled": lambda p: p / (p + (1 - p) * 10),
    "both": lambda p: expit(2 * (logit(p) + np.log(0.1))),
}


@pytest.fixture
def outputs():
    p = np.random.default_rng(0).uniform(1e-4, 1 - 1e-4, (50, 1)).astype("float32")
    p[:3, 0] = [0.1, 0.2, 0.6]
    return dict.fromkeys([*MAPS, "other"], p)


@pytest.mark.parametrize("name", MAPS)
def test_graph_and_numpy_follow_the_formula(outputs, name):
    calibration = Calibration({name: MAPS[name]})
    expected = FORMULAS[name](outputs[name].astype("float64"))
    graph = calibration({task: keras.ops.convert_to_tensor(p) for task, p in outputs.items()})
    found = keras.ops.convert_to_numpy(graph[name])
    assert (found.shape, found.dtype) == ((50, 1), np.float32)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(calibration.transform(outputs)[name], expected, atol=1e-12)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(graph["other"]), outputs["other"])


def test_certainties_are_clipped():
    calibration = Calibration({"click": MAPS["platt"]})
    p = np.array([0.0, 1.0], "float32")
    expected = expit(0.5 * logit([1e-7, 1 - 1e-7]) - 1.5)
    np.testing.assert_allclose(calibration.transform({"click": p})["click"], expected)
    found = keras.ops.convert_to_numpy(calibration({"click": p})["click"])
    np.testing.assert_allclose(found, expected, rtol=0.2)


def test_json_carries_it():
    calibration = Calibration(MAPS)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again.tasks == calibration.tasks


def test_a_frame_keeps_index_and_other_columns(outputs):
    frame = pd.DataFrame({"platt": [0.2, 0.4], "other": [0.2, 0.4]}, index=[7, 3])
    found = Calibration({"platt": MAPS["platt"]}).transform(frame)
    expected = frame.assign(platt=FORMULAS["platt"](np.array([0.2, 0.4])))
    pd.testing.assert_frame_equal(found, expected)


def test_sampling_a_tenth_of_the_negatives_is_undone():
    odds = 0.02 / 0.98
    sampled = odds * 10 / (1 + odds * 10)
    np.testing.assert_allclose(correct_negative_sampling([[sampled]], 0.1), [[0.02]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "plat"}, "task `click`: method='plat'; expected one of platt, isotonic"),
        ({"method": "platt", "slop": 1}, "task `click`: `slop` is unknown. Did you mean `slope`"),
        ({"method": "platt", "slope": -1}, "slope=-1.*finite numbers and a slope above 0"),
        ({"method": "isotonic"}, "0 inputs and 0 outputs; expected equally many, ascending"),
        (
            {"method": "isotonic", "inputs": [0.1, 0.1 + 1e-10], "outputs": [0, 1]},
            "2 inputs and 2 outputs; expected equally many, ascending inputs",
        ),
        (
            {"method": "none", "negative_sampling_rate": 10},
            "negative_sampling_rate=10; expected the share of negatives that were kept, above 0",
        ),
    ],
)
def test_a_bad_map_is_an_error_that_names_the_task(given, message):
    with pytest.raises(ValueError, match=message):
        Calibration({"click": given})


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ({"clik": [0.1]}, "task `click` is not among the outputs. Did you mean `clik`"),
        ({"click": [np.nan, 0.1]}, "`click` has 1 predictions of NaN"),
        ({"click": [-2.0, 0.5]}, r"`click` has predictions from -2 to 0.5; .*in \[0, 1\]. Apply"),
    ],
)
def test_bad_predictions_are_errors(predictions, message):
    with pytest.raises(ValueError, match=message):
        Calibration({"click": MAPS["platt"]}).transform(predictions)


def test_a_task_that_is_unknown_or_a_regression_is_an_error():
    tasks = [BinaryTask("click"), RegressionTask("seconds")]
    schema = FeatureSchema([NumericFeature("length", "item")], tasks)
    with pytest.raises(ValueError, match="no task `clik`. Did you mean `click`"):
        Calibration({"clik": MAPS["platt"]}).check_schema(schema)
    with pytest.raises(ValueError, match="task `seconds` is a RegressionTask"):
        Calibration({"seconds": MAPS["platt"]}).check_schema(schema)
