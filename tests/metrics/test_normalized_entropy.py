import numpy as np
import pytest
from sklearn.metrics import log_loss

from keras_infnet.metrics import NormalizedEntropy, normalized_entropy


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 2, 300), rng.uniform(0.01, 0.99, 300)
    return labels, p, rng.uniform(0.1, 2, 300)


def expected_of(labels, p, weights):
    """Log loss over that of the base rate, both by scikit-learn."""
    rate = np.full(len(labels), np.average(labels, weights=weights))
    of_rate = log_loss(labels, rate, sample_weight=weights)
    return log_loss(labels, p, sample_weight=weights) / of_rate


def test_is_log_loss_over_that_of_the_base_rate(rows):
    assert normalized_entropy(*rows) == pytest.approx(expected_of(*rows))


def test_the_metric_adds_batches_up(rows):
    metric = NormalizedEntropy()
    for part in np.array_split(np.arange(300), 3):
        metric.update_state(*(values[part][:, None].astype("float32") for values in rows))
    assert float(metric.result()) == pytest.approx(expected_of(*rows), rel=1e-5)


def test_rows_of_weight_zero_are_left_out():
    labels, p, weights = [0, 1, np.nan], [0.5, 0.5, 0.9], [1, 1, 0]
    assert normalized_entropy(labels, p, weights) == pytest.approx(1)
    metric = NormalizedEntropy()
    metric.update_state(labels, p, weights)
    assert float(metric.result()) == pytest.approx(1, rel=1e-6)


def test_one_class_or_no_row_is_nan():
    assert np.isnan(normalized_entropy([1, 1], [0.5, 0.6]))
    assert np.isnan(normalized_entropy([], []))
    metric = NormalizedEntropy()
    assert np.isnan(float(metric.result()))
    metric.update_state([1, 1], [0.5, 0.6])
    assert np.isnan(float(metric.result()))


def test_logits_are_an_error_that_shows_their_range():
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\].*-1.5 to 2"):
        normalized_entropy([0, 1], [-1.5, 2.0])
