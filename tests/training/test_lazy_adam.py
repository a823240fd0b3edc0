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
def test_everything_but_large_tables_is_trained_as_keras_does(lazy, dense):
    batches = row_batches(5)
    found, expected = (
        train(row_ranker(), batches, optimizer(0.01), **quick()) for optimizer in (lazy, dense)
    )
    assert_weights(found, expected.get_weights(), atol=2e-6)
    if keras.backend.backend() == "jax":
        for mine, of_keras in zip(found.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, of_keras)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"amsgrad": True},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"global_clipnorm": 0.01, "loss_scale_factor": 128.0},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_dense_weights_with_each_argument_are_those_of_keras(given, jit_compile):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 8, 4)).astype("float32"), rng.normal(size=(6, 8, 1))
    start = [rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 1)), np.ones(1)]
    found = []
    for optimizer in (LazyAdam, keras.optimizers.Adam):
        model = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
        model.build((None, 4))
        model.set_weights(start)
        model.compile(optimizer(0.01, **given), "mse", jit_compile=jit_compile)
        for batch in zip(x, y, strict=True):
            model.train_on_batch(*batch)
        found.append([*model.get_weights(), *map(np.asarray, model.optimizer.variables)])
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(found[0][:4], start, strict=True))
    for mine, of_keras in zip(*found, strict=True):
        np.testing.assert_allclose(mine, of_keras, rtol=3e-5, atol=2e-6)
