import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from keras_infnet.metrics.auc import auc

pytestmark = pytest.mark.one_backend

# Six scores only, so that most rows tie with another.
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 3)), min_size=2)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_equals_scikit_learn_with_ties_and_weights(rows):
    labels, scores, weights = np.array(rows).T
    if len(set(labels)) == 1:
        assert np.isnan(auc(labels, scores, weights))
    else:
        expected = roc_auc_score(labels, scores, sample_weight=weights)
        assert auc(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_ties_count_a_half():
    assert auc([0, 1], [0.5, 0.5]) == 0.5


def test_a_column_of_a_model_and_a_nullable_series_are_taken():
    labels = pd.Series([0, 1, None], dtype="Int64")
    scores = np.array([[0.1], [0.2], [0.3]], "float32")
    assert auc(labels, scores, sample_weight=[1, 1, 0]) == 1.0


def test_rows_of_weight_zero_are_left_out_whatever_they_hold():
    assert auc([0, 1, np.nan, 7], [0.1, 0.2, np.nan, 0.0], [1, 1, 0, 0]) == 1.0


def test_the_same_index_in_another_order_is_an_error():
    labels = pd.Series([0, 1, 1], index=[7, 8, 9])
    scores = pd.Series([0.3, 0.2, 0.1], index=[9, 8, 7])
    with pytest.raises(ValueError, match=r"another order.*`predictions.loc\[labels.index\]`"):
        auc(labels, scores)
    assert auc(labels, scores.loc[labels.index]) == auc(labels, scores.to_numpy()[::-1]) == 1
    assert auc(labels, scores.reset_index(drop=True)) == 0


def test_no_observed_row_is_nan():
    assert np.isnan(auc([], []))
    assert np.isnan(auc([0, 1], [0.1, 0.2], [0, 0]))


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([0, 2], [0.1, 0.2], None, r"labels must be 0 or 1. Received: 2 .*position 1"),
        ([0, np.nan], [0.1, 0.2], None, r"labels must be numbers, or weight 0.*nan.*position 1"),
        ([0, 1], [np.nan, 0.2], None, r"predictions must be numbers.*nan.*position 0"),
        ([0, 1], [0.1, 0.2], [1, -1], r"weights must be finite numbers, 0 or more.*-1"),
        ([0, 1], [0.1], None, r"same rows. Received: 2 labels, 1 predictions, 2 weights"),
        ([0, 1], [[0.1, 0.2]], None, r"predictions must have shape \(rows,\).*\(1, 2\)"),
        (["no", "yes"], [0.1, 0.2], None, r"labels must be numbers.*'no'"),
    ],
)
def test_bad_columns_are_errors_that_show_the_value(labels, scores, weights, message):
    with pytest.raises(ValueError, match=message):
        auc(labels, scores, weights)
