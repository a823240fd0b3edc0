import keras
import numpy as np
import pytest

from keras_infnet.training import data_parallel
from tests.training.row_ranker import adagrad, row_ranker, trained
from tests.training.two_devices import BALANCES, EPOCHS, OPTIMIZERS, STEPS, child, weighted_batches

# On JAX all of them are trained with shared-out tables.
USED = list(OPTIMIZERS) if keras.backend.backend() == "tensorflow" else ["adagrad"]


@pytest.fixture(scope="module")
def runs():
    return child(
        [(name, optimizer) for name in ("one", "parallel") for optimizer in [*USED, *BALANCES]]
    )


@pytest.mark.parametrize("optimizer", USED)
def test_losses_metrics_and_weights_of_two_devices_are_those_of_one(runs, optimizer):
    one, two = runs["one", optimizer], runs["parallel", optimizer]
    assert len(set(one["losses"])) == EPOCHS * STEPS
    for name in ("losses", "auc"):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5)
    for found, weight in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-5)


def test_an_evaluation_on_two_devices_has_the_exact_auc_of_all_rows(runs):
    for devices in ("one", "parallel"):
        found, exact = runs[devices, "adagrad"]["evaluated"]
        assert found == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("balance", BALANCES)
def test_tasks_are_balanced_by_the_gradients_and_losses_of_all_devices(runs, balance):
    one, two = runs["one", balance], runs["parallel", balance]
    assert np.ptp(one["of tasks"]) > 0.01
    np.testing.assert_allclose(two["of tasks"], one["of tasks"], rtol=1e-4)
    for found, weight in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-5)


def test_rows_gradients_of_all_devices_are_summed_before_they_are_clipped_and_squared(runs):
    weights = row_ranker().get_weights()
    expected = trained(weights, weighted_batches() * EPOCHS, adagrad(0.1), {"clipnorm": 0.05})
    for found, weight in zip(runs["parallel", "adagrad"]["weights"], expected, strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-5)


def test_fewer_devices_than_asked_is_an_error_that_says_how_to_get_more():
    virtual = {"jax": "XLA_FLAGS=.*device_count=99", "tensorflow": "set_logical_device_.* 99"}
    message = "data_parallel: 99 devices were asked for, and there are 1 .cpu:0.*fewer.*"
    with pytest.raises(ValueError, match=message + virtual[keras.backend.backend()]):
        data_parallel(99)


def test_no_device_is_an_error_that_shows_the_number():
    with pytest.raises(ValueError, match="data_parallel: .* must be 1 or more. Received: 0"):
        data_parallel(0)
