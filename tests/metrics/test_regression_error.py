import numpy as np
import pytest
from sklearn import metrics

from keras_infnet.metrics.regression_error import mean_absolute_error, mean_squared_error

pytestmark = pytest.mark.one_backend

LABELS, PREDICTED, WEIGHTS = [1.0, 2.0, 5.0], [1.5, 0.0, 5.0], [1.0, 2.0, 0.5]


def test_both_equal_scikit_learn():
    squared = metrics.mean_squared_error(LABELS, PREDICTED, sample_weight=WEIGHTS)
    absolute = metrics.mean_absolute_error(LABELS, PREDICTED, sample_weight=WEIGHTS)
    assert mean_squared_error(LABELS, PREDICTED, WEIGHTS) == pytest.approx(squared)
    assert mean_absolute_error(LABELS, PREDICTED, WEIGHTS) == pytest.approx(absolute)


@pytest.mark.parametrize("error", [mean_squared_error, mean_absolute_error])
def test_unobserved_rows_are_left_out_and_none_is_nan(error):
    assert error([1.0, np.nan], [1.0, 3.0], [1, 0]) == 0.0
    assert np.isnan(error([np.nan], [3.0], [0]))
