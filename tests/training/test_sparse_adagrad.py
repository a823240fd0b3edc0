import keras
import numpy as np
import pytest

from keras_infnet.training.sparse_adagrad import SparseAdagrad
from tests.tiny import quick
from tests.training.row_ranker import (
    ROWS,
    adagrad,
    assert_weights,
    row_batches,
    row_ranker,
    train,
    trained,
)


@pytest.mark.parametrize("compiling", ["xla", "quick"])
def test_twenty_steps_are_those_of_dense_adagrad(compiling):
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, adagrad(0.1))
    train(model, batches, SparseAdagrad(0.1, row_updates_from=0), **compiled(compiling))
    assert_weights(model, expected)


@pytest.mark.parametrize(
    "clip", [{"clipnorm": 0.02}, {"global_clipnorm": 0.03}, {"clipvalue": 0.004}], ids=str
)
def test_gradients_are_clipped_as_dense_ones(clip):
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, adagrad(0.1), clip)
    train(model, batches, SparseAdagrad(0.1, row_updates_from=0, **clip), **quick())
    assert_weights(model, expected)


def test_weight_decay_reaches_the_rows_that_are_looked_up_and_dense_weights():
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, adagrad(0.1), decay=0.1 * 0.2)
    optimizer = SparseAdagrad(0.1, row_updates_from=0, weight_decay=0.2)
    train(model, batches, optimizer, **quick())
    assert_weights(model, expected)


def test_a_fixed_loss_scale_changes_nothing():
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, adagrad(0.1))
    optimizer = SparseAdagrad(0.1, row_updates_from=0, loss_scale_factor=1024.0)
    train(model, batches, optimizer, **quick())
    assert_weights(model, expected)


def test_a_table_below_the_threshold_is_trained_by_keras_bit_for_bit():
    batches = row_batches(5)
    optimizers = SparseAdagrad(0.1, row_updates_from=ROWS + 1), keras.optimizers.Adagrad(0.1)
    models = [train(row_ranker(), batches, optimizer, **quick()) for optimizer in optimizers]
    for found, expected in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_array_equal(found, expected)
    slots = [[v.shape for v in optimizer.variables] for optimizer in optimizers]
    assert slots[0] == slots[1]


def test_a_negative_threshold_is_an_error_that_shows_it():
    with pytest.raises(ValueError, match="0 or more rows. Received: -1"):
        SparseAdagrad(row_updates_from=-1)


def compiled(how):
    return {"jit_compile": True} if how == "xla" else quick()
