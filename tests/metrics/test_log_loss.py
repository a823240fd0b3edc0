import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from keras_infnet.metrics.log_loss import log_loss

pytestmark = pytest.mark.one_backend


def test_equals_scikit_learn_with_weights():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 200), rng.uniform(0.01, 0.99, 200)
    weights = rng.uniform(0.1, 2, 200)
    expected = sklearn_log_loss(labels, probabilities, sample_weight=weights)
    assert log_loss(labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)


def test_rows_of_weight_zero_are_left_out():
    assert log_loss([1, np.nan], [0.5, 2.0], [1, 0]) == pytest.approx(np.log(2))


def test_a_wrong_certainty_is_clipped_and_one_class_is_defined():
    assert log_loss([1, 1], [0.0, 0.0]) == pytest.approx(-np.log(1e-7))


def test_no_observed_row_is_nan():
    assert np.isnan(log_loss([], []))


def test_logits_are_an_error_that_shows_their_range():
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\].*-1.5 to 2.*sigmoid"):
        log_loss([0, 1], [-1.5, 2.0])
