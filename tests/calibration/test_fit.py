import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from keras_infnet.calibration import fit_calibration


@pytest.fixture(scope="module")
def rows():
    """Labels, predictions that are too sure and too high, and weights."""
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 8, 3000)
    predicted = expit(1.7 * logit(truth) + 1.5).clip(1e-6, 1 - 1e-6)
    return rng.binomial(1, truth), predicted, rng.uniform(0.2, 2, 3000)


def fit(rows, method, **arguments):
    labels, predicted, weights = rows
    return fit_calibration(
        {"click": labels}, {"click": predicted}, method, {"click": weights}, **arguments
    )


def test_platt_is_logistic_regression_on_logits(rows):
    labels, predicted, weights = rows
    x = logit(predicted)[:, None]
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(x, labels, sample_weight=weights)
    found = fit(rows, "platt").tasks["click"]
    assert found.slope == pytest.approx(regression.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(regression.intercept_[0], rel=1e-4)


def test_temperature_has_least_log_loss(rows):
    labels, predicted, weights = rows
    best = minimize_scalar(
        lambda t: log_loss(labels, expit(logit(predicted) / t), sample_weight=weights),
        bounds=(0.1, 20),
        method="bounded",
        options={"xatol": 1e-9},
    )
    found = fit(rows, "temperature").tasks["click"]
    assert (1 / found.slope, found.intercept) == (pytest.approx(best.x, rel=1e-5), 0)


def test_isotonic_is_that_of_scikit_learn(rows):
    labels, predicted, weights = rows
    predicted = predicted.astype("float32").astype("float64")
    expected = IsotonicRegression(out_of_bounds="clip").fit(predicted, labels, weights)
    between = np.linspace(0, 1, 1001)
    found = fit((labels, predicted, weights), "isotonic").transform({"click": between})["click"]
    np.testing.assert_allclose(found, expected.predict(between), atol=1e-6)


# Few predictions, so that many rows tie, and steps that fall are pooled again and again.
TIED = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(1, 4)), min_size=2)


@settings(max_examples=100, deadline=None)
@given(TIED)
def test_isotonic_pools_like_scikit_learn(tied):
    labels, level, weights = np.array(tied).T
    if len(set(labels)) == 2:
        p = level / 16
        expected = IsotonicRegression(out_of_bounds="clip").fit(p, labels, weights).predict(p)
        found = fit((labels, p, weights), "isotonic").transform({"click": p})["click"]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_auc_stays(rows, method):
    labels, predicted, _ = rows
    calibrated = fit(rows, method).transform({"click": predicted})["click"]
    assert roc_auc_score(labels, calibrated) == roc_auc_score(labels, predicted)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_the_calibrated_mean_is_the_rate(rows, method):
    labels, predicted, weights = rows
    calibrated = fit(rows, method).transform({"click": predicted})["click"]
    expected = np.average(labels, weights=weights)
    assert np.average(calibrated, weights=weights) == pytest.approx(expected, rel=1e-5)
    assert np.average(predicted, weights=weights) > 1.2 * expected


def test_training_on_a_tenth_of_the_negatives_is_corrected():
    rng = np.random.default_rng(1)
    truth = rng.beta(1, 20, 20000)
    labels, sampled = rng.binomial(1, truth), truth / (truth + (1 - truth) * 0.1)
    found = fit_calibration({"click": labels}, {"click": sampled}, "none", None, 0.1)
    np.testing.assert_allclose(found.transform({"click": sampled})["click"], truth, atol=1e-12)
    # What is left after the correction is nothing but chance.
    platt = fit_calibration({"click": labels}, {"click": sampled}, "platt", None, 0.1)
    assert platt.tasks["click"].slope == pytest.approx(1, abs=0.1)
    assert platt.tasks["click"].intercept == pytest.approx(0, abs=0.2)


def test_unobserved_labels_are_left_out_task_by_task(rows):
    labels, predicted, _ = rows
    observed = np.arange(3000) % 3 > 0
    frame = pd.DataFrame({"click": labels, "like": np.where(observed, labels, np.nan)})
    both = fit_calibration(frame, {"click": predicted, "like": predicted[:, None]})
    part = fit_calibration({"like": labels[observed]}, {"like": predicted[observed]})
    whole = fit_calibration({"click": labels}, {"click": predicted})
    assert both.tasks == {**whole.tasks, **part.tasks}
    weighted = fit_calibration(frame[["click"]], {"click": predicted}, sample_weight=observed)
    assert weighted.tasks["click"] == part.tasks["like"]


def test_each_task_may_have_its_method(rows):
    labels, predicted, _ = rows
    columns = {"click": labels, "like": labels}
    method = {"click": "temperature", "like": "isotonic"}
    found = fit_calibration(columns, dict.fromkeys(columns, predicted), method)
    assert {name: task.method for name, task in found.tasks.items()} == method


@pytest.mark.parametrize(
    ("labels", "predicted", "arguments", "message"),
    [
        ([1, 1], [0.1, 0.2], {}, "`click`: all 2 observed labels are 1; expected rows of both"),
        ([np.nan], [0.1], {}, "`click`: no label is observed; expected rows of both classes"),
        ([0, 1], [0.1, np.nan], {}, "`click`: The predictions must be numbers. Received: nan"),
        ([0, 1], [-2.0, 3.0], {}, r"`click`: .*from -2 to 3; expected probabilities in \[0, 1\]"),
        ([0, 1, 0], [0.1, 0.2], {}, "`click`: .*same rows. Received: 3 labels, 2 predictions"),
        ([0, 1], [0.1, 0.2], {}, "`click`: predictions tell the classes fully apart.*isotonic"),
        ([1, 0], [0.1, 0.2], {}, "`click`: predictions order the classes the wrong way round"),
        ([1, 0], [0.3, 0.3], {}, "`click`: predictions order .* or not at all"),
        ([0, 1], [0.1, 0.8], {"method": "temperature"}, "`click`: predictions tell the classes"),
        ([0, 1], [0.8, 0.1], {"method": "temperature"}, "`click`: predictions order the classes"),
        ([0, 1], [0.1, 0.2], {"method": "beta"}, "`click`: method='beta'; expected one of platt"),
        ([0, 1], [0.1, 0.2], {"method": {"clik": "platt"}}, "`clik` is not in the predictions"),
        ([0, 1], [0.1, 0.2], {"method": {}}, "`click`: method=None; expected one of platt"),
        ([0, 1], [0.1, 0.2], {"negative_sampling_rate": 0}, "`click`: negative_sampling_rate=0"),
    ],
)
def test_what_can_not_be_calibrated_is_an_error(labels, predicted, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration({"click": labels}, {"click": predicted}, **arguments)


def test_an_unknown_task_is_an_error_with_a_suggestion():
    with pytest.raises(ValueError, match="`clik` is not in the labels. Did you mean `click`"):
        fit_calibration({"click": [0, 1]}, {"clik": [0.1, 0.2]})
