import numpy as np
import pytest

from keras_infnet.metrics import auc, block_jackknife

pytestmark = pytest.mark.one_backend


def test_of_a_mean_it_is_the_textbook_standard_error():
    x = np.random.default_rng(0).normal(size=25)
    value, error = block_jackknife(lambda rows: x[rows].mean(), np.arange(25), blocks=25)
    assert value == pytest.approx(x.mean())
    assert error == pytest.approx(x.std(ddof=1) / 5)


def test_of_an_auc_it_is_that_of_many_drawn_samples():
    draw = np.random.default_rng(1)

    def sample():
        users = np.repeat(np.arange(150), 4)
        taste = draw.normal(size=150)[users]
        labels = (draw.random(600) < 1 / (1 + np.exp(-taste))).astype("float32")
        return users, labels, taste + draw.normal(size=600)

    found = [sample() for _ in range(60)]
    spread = np.std([auc(labels, scores) for _, labels, scores in found], ddof=1)
    errors = [
        block_jackknife(lambda rows, y=y, s=s: auc(y[rows], s[rows]), users)[1]
        for users, y, s in found[:10]
    ]
    assert np.mean(errors) == pytest.approx(spread, rel=0.25)


def test_rows_of_a_group_go_together_and_arrays_are_measured_at_once():
    x, groups = np.array([1.0, 3.0, 2.0, 6.0, 8.0]), ["a", "a", "b", "c", "c"]
    value, error = block_jackknife(lambda rows: [x[rows].mean(), x[rows].sum()], groups)
    without = np.array([[16 / 3, 16], [18 / 4, 18], [2, 6]])
    expected = np.sqrt(2 / 3 * ((without - without.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(value, [4, 20])
    np.testing.assert_allclose(error, expected)


def test_what_is_no_sample_is_said():
    with pytest.raises(ValueError, match="blocks is 1; expected 2 or more"):
        block_jackknife(np.sum, [1, 2], blocks=1)
    with pytest.raises(ValueError, match="there is no row"):
        block_jackknife(np.sum, [])
    assert np.isnan(block_jackknife(np.sum, ["ann", "ann"])[1])
