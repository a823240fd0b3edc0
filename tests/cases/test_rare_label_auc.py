import numpy as np
import pytest

from keras_infnet.metrics import AUC, auc

RNG = np.random.default_rng(0)


def measured(labels, scores):
    metric = AUC()
    metric.update_state(labels[:, None], scores[:, None].astype("float32"))
    return float(metric.result())


def test_models_of_a_rare_label_are_ordered_as_by_the_exact_auc():
    rate = 0.0005
    p = 1 / (1 + np.exp(-(np.log(rate) + 0.7 * RNG.normal(size=100_000))))
    labels = RNG.random(p.size) < p
    noise = np.exp(0.35 * RNG.normal(size=p.size))
    scores = [p, np.minimum(10 * p, 1), np.minimum(2 * p * noise, 1)]
    exact = [auc(labels, q) for q in scores]
    found = [measured(labels, q) for q in scores]
    # The same order, ten times as high, has the same value; noise makes it worse.
    assert exact[0] == pytest.approx(exact[1], abs=1e-9) and exact[2] < exact[0] - 0.01
    np.testing.assert_allclose(found, exact, atol=1e-7)
