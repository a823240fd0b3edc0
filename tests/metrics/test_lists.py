"""NDCG and MRR within lists, against scikit-learn and loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from keras_infnet.metrics import mean_reciprocal_rank, ndcg

pytestmark = pytest.mark.one_backend

# Few lists and few scores: ties, lists of one class and lists of one row all occur.
ROWS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 4), st.integers(-1, 5), st.integers(0, 2)), min_size=1
)


def of_lists(measure, rows):
    """The weighted mean of a measure over the lists of both classes."""
    frame = pd.DataFrame(rows, columns=["y", "score", "list", "weight"])
    frame = frame[(frame.weight > 0) & (frame.list >= 0)]
    lists = [g for _, g in frame.groupby("list") if g.y.nunique() == 2]
    weights = [g.weight.mean() for g in lists]
    return np.average([measure(g) for g in lists], weights=weights) if lists else np.nan


def expected_reciprocal_rank(of_list):
    best = of_list.score[of_list.y].max()
    tied = of_list[of_list.score == best]
    rank = 1 + (of_list.score > best).sum() + (~tied.y).sum() / (tied.y.sum() + 1)
    return 1 / rank


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, k=st.sampled_from([1, 3, None]))
def test_ndcg_equals_scikit_learn_in_each_list(rows, k):
    expected = of_lists(lambda g: ndcg_score([g.y.astype(int)], [g.score], k=k), rows)
    labels, scores, lists, weights = np.array(rows).T
    np.testing.assert_allclose(ndcg(labels, scores, lists, k, weights), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_mrr_equals_a_loop_over_lists(rows):
    labels, scores, lists, weights = np.array(rows).T
    found = mean_reciprocal_rank(labels, scores, lists, weights)
    np.testing.assert_allclose(found, of_lists(expected_reciprocal_rank, rows), atol=1e-12)


def test_the_expected_rank_is_that_of_random_orders():
    # One positive and two negatives tie below a negative: rank 2, 3 or 4, on average 3.
    assert mean_reciprocal_rank([0, 1, 0, 0], [9, 1, 1, 1], [4] * 4) == pytest.approx(1 / 3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="k is 0; expected a whole number, 1 or more"):
        ndcg([0, 1], [0, 1], [1, 1], k=0)
    with pytest.raises(ValueError, match="one key a row. Received: 1 keys and 2 labels"):
        mean_reciprocal_rank([0, 1], [0, 1], [1])
