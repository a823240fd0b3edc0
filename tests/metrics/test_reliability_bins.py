import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from keras_infnet.metrics.calibration import reliability_bins


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 500)
    return rng.binomial(1, p), p


def test_bins_of_equal_width_are_those_of_scikit_learn(rows):
    mean_p, mean_y, weight = reliability_bins(*rows, num_bins=7)
    expected_y, expected_p = calibration_curve(*rows, n_bins=7)
    np.testing.assert_allclose(mean_p, expected_p)
    np.testing.assert_allclose(mean_y, expected_y)
    assert weight.sum() == 500


def test_bins_of_equal_mass_are_those_of_sorted_rows(rows):
    labels, p = rows
    order = np.argsort(p)
    mean_p, mean_y, weight = reliability_bins(labels, p, num_bins=5, binning="mass")
    np.testing.assert_array_equal(weight, [100] * 5)
    np.testing.assert_allclose(mean_p, p[order].reshape(5, 100).mean(1))
    np.testing.assert_allclose(mean_y, labels[order].reshape(5, 100).mean(1))


def test_mass_is_weight_and_weight_zero_is_left_out():
    # Weights 1, 1 and 2: halves of equal weight are the first two rows, and the third.
    found = reliability_bins(
        [0, 1, 1, np.nan], [0.1, 0.2, 0.3, 0.9], [1, 1, 2, 0], num_bins=2, binning="mass"
    )
    np.testing.assert_allclose(found, [[0.15, 0.3], [0.5, 1.0], [2, 2]])


def test_rows_of_one_prediction_stay_together_in_any_order():
    p, labels = np.array([0.5, 0.2, 0.5, 0.2]), np.array([0, 1, 1, 0])
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        found = reliability_bins(labels[order], p[order], num_bins=4, binning="mass")
        np.testing.assert_allclose(found, [[0.2, 0.5], [0.5, 0.5], [2, 2]])


def test_both_ends_have_a_bin():
    found = reliability_bins([0, 1], [0.0, 1.0], num_bins=3)
    np.testing.assert_allclose(found, [[0, 1], [0, 1], [1, 1]])


def test_no_observed_row_gives_no_bin():
    assert [len(part) for part in reliability_bins([], [])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"binning": "equal"}, r"`binning` must be one of \('width', 'mass'\). Received: 'equal'"),
        ({"num_bins": 0}, "`num_bins` must be 1 or more. Received: num_bins=0"),
        ({"probabilities": [-1.5, 2]}, r"probabilities in \[0, 1\].*-1.5 to 2. Apply a sigmoid"),
        ({"probabilities": [np.nan, 0]}, "predictions must be numbers. Received: nan"),
    ],
)
def test_bad_arguments_are_errors_that_show_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        reliability_bins(**{"labels": [0, 1], "probabilities": [0.1, 0.2], **arguments})
