import keras
import numpy as np
import pytest

from keras_infnet.training.lazy_adam import LazyAdam, LazyAdamW
from tests.tiny import quick
from tests.training.row_ranker import (
    ROWS,
    assert_weights,
    lazy_adam,
    row_batches,
    row_ranker,
    train,
    trained,
)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_rows_that_are_not_looked_up_keep_weight_and_moments(amsgrad):
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, lazy_adam(0.01, amsgrad=amsgrad))
    optimizer = LazyAdam(0.01, row_updates_from=0, amsgrad=amsgrad)
    train(model, batches, optimizer, **quick())
    assert_weights(model, expected, atol=5e-6)


def test_a_compiled_step_computes_the_same():
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, lazy_adam(0.01))
    train(model, batches, LazyAdam(0.01, row_updates_from=0))
    assert_weights(model, expected, atol=5e-6)


def test_weight_decay_of_lazy_adamw_reaches_the_rows_that_are_looked_up():
    model, batches = row_ranker(), row_batches()
    expected = trained(model.get_weights(), batches, lazy_adam(0.01), decay=0.01 * 0.5)
    optimizer = LazyAdamW(0.01, weight_decay=0.5, row_updates_from=0)
    train(model, batches, optimizer, **quick())
    assert_weights(model, expected, atol=5e-6)


def test_where_every_step_looks_up_every_row_it_is_dense_adam():
    batches = row_batches(5, batch=ROWS)
    for x, _ in batches:
        x["categorical"] = np.stack([np.arange(ROWS) % 20, np.arange(ROWS) % 30], 1).astype("int32")
    optimizers = LazyAdam(0.01, row_updates_from=0), keras.optimizers.Adam(0.01)
    found, dense = (train(row_ranker(), batches, each, **quick()) for each in optimizers)
    assert_weights(found, dense.get_weights())


@pytest.mark.parametrize(
    ("lazy", "dense"),
    [(LazyAdam, keras.optimizers.Adam), (LazyAdamW, keras.optimizers.AdamW)],
)
def test_a_table_below_the_threshold_is_trained_by_keras_bit_for_bit(lazy, dense):
    batches = row_batches(5)
    models = [
        train(row_ranker(), batches, optimizer(0.01), **quick()) for optimizer in (lazy, dense)
    ]
    for found, expected in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_array_equal(found, expected)
