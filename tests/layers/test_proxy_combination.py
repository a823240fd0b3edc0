import numpy as np
import pytest

from keras_infnet.layers import ProxyCombination
from tests import tiny

RNG = np.random.default_rng(0)
# Three tasks with two proxies each, and two that all share.
TASKS, OWN, SHARED = (RNG.normal(size=(4, n, 5)).astype("float32") for n in (3, 6, 2))


def expected(layer, tasks, own, shared):
    """`z` and its weights, one row and task after the other."""
    w_q, w_k = layer.get_weights()
    rows, number, d = len(tasks), tasks.shape[1], own.shape[2]
    m = own.shape[1] // number
    combined = np.zeros((rows, number, d))
    weights = np.zeros((rows, number, m + shared.shape[1]))
    for b in range(rows):
        for i in range(number):
            proxies = [*own[b, i * m : (i + 1) * m], *shared[b]]
            query = tasks[b, i] @ w_q
            scores = np.array([query @ (p @ w_k) for p in proxies]) / np.sqrt(d)
            weights[b, i] = np.exp(scores) / np.exp(scores).sum()
            combined[b, i] = sum(a * p for a, p in zip(weights[b, i], proxies, strict=True))
    return combined, weights


def test_each_task_combines_its_own_proxies_and_the_shared_ones():
    layer = tiny.randomise_after(ProxyCombination(), TASKS, OWN, SHARED)
    combined, weights = expected(layer, TASKS, OWN, SHARED)
    np.testing.assert_allclose(layer(TASKS, OWN, SHARED), combined, atol=1e-5)
    np.testing.assert_allclose(layer.attention_weights(TASKS, OWN, SHARED), weights, atol=1e-5)


def test_there_may_be_no_shared_proxies():
    layer = tiny.randomise_after(ProxyCombination(), TASKS[..., :3], OWN)
    combined, weights = expected(layer, TASKS[..., :3], OWN, SHARED[:, :0])
    np.testing.assert_allclose(layer(TASKS[..., :3], OWN), combined, atol=1e-5)
    np.testing.assert_allclose(layer.attention_weights(TASKS[..., :3], OWN), weights, atol=1e-5)


def test_what_another_task_has_of_its_own_changes_nothing():
    layer = tiny.randomise_after(ProxyCombination(), TASKS, OWN, SHARED)
    others = np.concatenate([OWN[:, :2], 1e3 * OWN[:, 2:]], axis=1)
    first, again = layer(TASKS, OWN, SHARED), layer(TASKS, others, SHARED)
    np.testing.assert_allclose(again[:, 0], first[:, 0], atol=1e-6)


def test_tasks_with_different_numbers_of_proxies_are_an_error():
    with pytest.raises(ValueError, match="`own` has 5 proxies for 3 tasks; expected equally many"):
        ProxyCombination()(TASKS, OWN[:, :5])
