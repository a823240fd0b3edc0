"""What the weights of each balance are, on losses and gradients written down by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet import balances
from keras_infnet.balances import Measured
from keras_infnet.balances.in_use import BalanceInUse
from keras_infnet.schema.binary_task import BinaryTask

pytestmark = pytest.mark.one_backend


def in_use(balance, number=2):
    tasks = [BinaryTask(name) for name in "abc"[:number]]
    return BalanceInUse(balance, tasks, keras.optimizers.SGD(0.01))


def weights(balance, losses, gradients=None, **state):
    """Of a first step, or with this state."""
    numbers = {name: np.float32(v) for name, v in balance.first_state(len(losses)).items()}
    gram = None if gradients is None else np.float32(gradients) @ np.float32(gradients).T
    state = {"step": np.int32(0), **numbers, **state}
    return ops.convert_to_numpy(balance.weights(state, Measured(np.float32(losses), gram)))


def moved(running, steps, losses, after=None, gram=None):
    """The weights after some equal steps."""
    losses, after = (None if x is None else np.float32(x) for x in (losses, after))
    for _ in range(steps):
        running.update(losses, gram, after, running.weigh(losses, gram))
    return ops.convert_to_numpy(running.weigh(losses, gram))


def test_uncertainty_ends_at_half_the_inverse_loss():
    found = moved(in_use(balances.Uncertainty(learning_rate=0.05)), 300, [0.2, 2.0])
    np.testing.assert_allclose(found, [1 / 0.4, 1 / 4.0], rtol=0.01)


def test_dwa_weighs_equal_rates_equally_and_sums_to_the_number_of_tasks():
    np.testing.assert_allclose(moved(in_use(balances.DWA(window=1)), 3, [0.1, 5.0]), [1, 1])
    running = in_use(balances.DWA(window=1, temperature=0.5), 3)
    moved(running, 1, [1.0, 1.0, 1.0])
    found = moved(running, 1, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(found, 3 * np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), rtol=1e-5)


def test_gradnorm_weighs_the_larger_gradient_less_and_sums_to_the_number_of_tasks():
    gram = np.float32(np.diag([1.0, 9.0]))
    found = moved(in_use(balances.GradNorm(first_steps=1)), 40, [0.3, 0.3], gram=gram)
    assert found[0] > 1.4
    np.testing.assert_allclose(found.sum(), 2, rtol=1e-5)


def test_pcgrad_is_the_plain_sum_without_conflict():
    found = weights(balances.PCGrad(), [1, 1, 1], [[1, 0.0], [1, 1], [0, 3]])
    np.testing.assert_array_equal(found, [1, 1, 1])


def test_pcgrad_projects_what_conflicts():
    # h_1 = (1, 0) + (-1, 1) / 2, h_2 = (-1, 1) + (1, 0): each orthogonal to the other's gradient.
    found = weights(balances.PCGrad(), [1, 1], [[1, 0], [-1, 1]])
    np.testing.assert_allclose(found @ [[1, 0], [-1, 1]], [0.5, 1.5], rtol=1e-6)


def test_pcgrad_meets_others_in_orders_that_change():
    orders = balances.PCGrad(seed=3).orders(3)
    assert {tuple(order) for order in orders[:, 0]} == {
        (i, j, k) for i in range(3) for j in range(3) for k in range(3) if {i, j, k} == {0, 1, 2}
    }
    assert not np.array_equal(orders, balances.PCGrad(seed=4).orders(3))


@pytest.mark.parametrize("c", [0.0, 0.4, 0.8])
def test_cagrad_stays_within_its_ball_around_the_mean(c):
    gradients = np.random.default_rng(0).normal(size=(3, 20))
    mean = gradients.mean(0)
    found = weights(balances.CAGrad(c), [1, 1, 1], gradients) @ gradients * (1 + c**2)
    distance, size = np.linalg.norm(found - mean), np.linalg.norm(mean)
    np.testing.assert_allclose(distance, c * size, rtol=1e-4, atol=1e-6 * size)
    # The task worst off gains more than by the mean, or by any other direction in the ball.
    others = np.random.default_rng(1).normal(size=(2000, 20))
    others = mean + c * size * others / np.linalg.norm(others, axis=1, keepdims=True)
    assert (gradients @ found).min() >= (gradients @ others.T).min(0).max() - 1e-4 * size**2


def test_famo_gives_weight_to_the_task_that_fell_least():
    running = in_use(balances.FAMO())
    first = ops.convert_to_numpy(running.weigh(np.float32([0.5, 0.5])))
    np.testing.assert_allclose(first, [0.5, 0.5])
    found = moved(running, 5, [0.5, 0.5], after=[0.4, 0.49])
    assert found[1] > 0.52
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-6)


def test_famo_weighs_by_the_inverse_loss_and_leaves_out_a_task_without_a_loss():
    np.testing.assert_allclose(weights(balances.FAMO(), [0.1, 0.3]), [0.75, 0.25], rtol=1e-5)
    np.testing.assert_allclose(weights(balances.FAMO(), [0.1, 0.0, 0.1]), [0.5, 0, 0.5])
    found = moved(in_use(balances.FAMO()), 3, [0.5, 0.0], after=[0.1, 0.0])
    np.testing.assert_allclose(found, [1, 0])


def test_a_step_that_is_not_finite_leaves_the_state():
    running = in_use(balances.Uncertainty(learning_rate=0.1))
    moved(running, 1, [1.0, 3.0])
    before = [ops.convert_to_numpy(v) for v in running.optimizer.variables]
    moved(running, 1, [np.nan, 3.0])
    for found, value in zip(running.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), value)
    assert set(running.weights) == {"a", "b"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: balances.Uncertainty(learning_rate=0), "Uncertainty: learning_rate is 0; .*above"),
        (lambda: balances.DWA(temperature=-1), "DWA: temperature is -1; expected a number above 0"),
        (lambda: balances.DWA(window=0), "DWA: window is 0; expected an integer of 1 or more"),
        (lambda: balances.GradNorm(alpha=-0.1), "GradNorm: alpha is -0.1; expected"),
        (lambda: balances.GradNorm(first_steps=0.5), "GradNorm: first_steps is 0.5; expected"),
        (lambda: balances.PCGrad(seed=None), "PCGrad: seed is None; expected an integer of 0"),
        (lambda: balances.CAGrad(c="4"), "CAGrad: c is '4'; expected a number"),
        (lambda: balances.FAMO(gamma=-1), "FAMO: gamma is -1; expected"),
    ],
)
def test_bad_arguments_are_errors_that_name_them(make, message):
    with pytest.raises(ValueError, match=message):
        make()
