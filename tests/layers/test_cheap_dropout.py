import numpy as np

from keras_infnet._backend.random_dropout import CheapDropout


def test_zeros_come_at_the_rate_and_the_mean_is_kept():
    layer = CheapDropout(0.2, seed=1)
    x = np.full((400, 500), 3.0, "float32")
    first, second = (np.array(layer(x, training=True)) for _ in range(2))
    values = np.unique(first)
    np.testing.assert_allclose(values, [0, 3 / 0.8], rtol=1e-6)
    # Five standard deviations of a share of 200,000 independent bits.
    assert abs((first == 0).mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / first.size)
    assert abs(((first == 0) & (second == 0)).mean() - 0.04) < 0.003
    rows, columns = (first == 0).mean(1), (first == 0).mean(0)
    assert max(np.abs(rows - 0.2).max(), np.abs(columns - 0.2).max()) < 0.12


def test_nothing_happens_at_inference():
    x = np.ones((4, 5), "float32")
    np.testing.assert_array_equal(CheapDropout(0.9)(x), x)
    np.testing.assert_array_equal(CheapDropout(0.0)(x, training=True), x)
