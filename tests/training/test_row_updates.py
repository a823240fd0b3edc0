import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.training.lazy_adam import LazyAdam, LazyAdamW
from keras_infnet.training.optimizers import split_optimizer
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.sparse_adagrad import SparseAdagrad
from tests.house.source import ROOT
from tests.tiny import quick
from tests.training.row_ranker import (
    DIM,
    ROWS,
    adagrad,
    assert_weights,
    row_batches,
    row_ranker,
    table_ids,
    train,
    trained,
)
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows

OPTIMIZERS = {
    "adagrad": lambda: SparseAdagrad(0.1, row_updates_from=0),
    "adam": lambda: LazyAdam(0.01, row_updates_from=0),
    "split": lambda: split_optimizer(
        LazyAdam(0.01, row_updates_from=0), keras.optimizers.Adagrad(0.1)
    ),
}


@pytest.mark.parametrize("optimizer", [SparseAdagrad, LazyAdam, LazyAdamW])
def test_tables_are_updated_by_rows_from_524288_rows_on(optimizer):
    for rows, by_row in ((524_224, False), (524_288, True)):
        layer = FusedEmbedding({"video_id": rows}, dim=1)
        layer.build((None, 1))
        assert optimizer().updates_rows(layer.embeddings) is by_row
        assert split_optimizer(optimizer()).updates_rows(layer.embeddings) is by_row
    assert not optimizer().updates_rows(keras.Variable(np.zeros((524_288, 1))))


def test_the_recipe_updates_large_tables_by_rows():
    model = tiny_ranker()
    fit_ranker(model, batches_of(tiny_rows(20)), verbose=0)
    assert type(model.optimizer) is LazyAdam


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_that_no_step_looks_up_keep_their_values_and_slots(name):
    model, batches = row_ranker(), row_batches(5)
    before, optimizer = model.get_weights()[0], OPTIMIZERS[name]()
    optimizer.build(model.trainable_variables)
    slots = [np.array(v) for v in optimizer.variables]
    train(model, batches, optimizer, **quick())
    seen = np.isin(np.arange(ROWS), [table_ids(x) for x, _ in batches])
    assert 0 < seen.sum() < ROWS
    after = model.get_weights()[0]
    np.testing.assert_array_equal(after[~seen], before[~seen])
    assert np.all(after[seen] != before[seen])
    of_table = [
        (a, b) for a, b in zip(slots, optimizer.variables, strict=True) if len(a.shape) == 2
    ]
    of_table = [(a, np.array(b)) for a, b in of_table if a.shape == (ROWS, DIM)]
    assert len(of_table) == {"adagrad": 1}.get(name, 2)
    for old, new in of_table:
        np.testing.assert_array_equal(new[~seen], old[~seen])
        assert np.all(new[seen] != old[seen])


def test_each_part_of_a_split_optimizer_takes_its_own_step():
    model, batches = row_ranker(), row_batches()
    rates, steps = (0.1, 0.02), [adagrad(0.1), adagrad(0.02)]
    expected = trained(
        model.get_weights(), batches, lambda t, i, *given: steps[i > 0](t, i, *given)
    )
    table, dense = SparseAdagrad(rates[0], row_updates_from=0), keras.optimizers.Adagrad(rates[1])
    train(model, batches, split_optimizer(table, dense), **quick())
    assert_weights(model, expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_keras_file(name, tmp_path):
    batches = row_batches(10)
    undisturbed = train(row_ranker(), batches, OPTIMIZERS[name](), **quick())
    train(row_ranker(), batches[:5], OPTIMIZERS[name](), **quick()).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for x, y in batches[5:]:
        loaded.train_on_batch(x, y)
    assert_weights(loaded, undisturbed.get_weights(), atol=1e-7)


def test_training_goes_on_from_a_checkpoint_of_weights_and_slots(tmp_path):
    batches, file = row_batches(10), tmp_path / "model.weights.h5"
    undisturbed = train(row_ranker(), batches, OPTIMIZERS["split"](), **quick())
    train(row_ranker(), batches[:5], OPTIMIZERS["split"](), **quick()).save_weights(file)
    other = row_ranker(seed=7)
    other.compile(OPTIMIZERS["split"](), weighted_metrics=[], **quick())
    other.optimizer.build(other.trainable_variables)
    other.load_weights(file)
    for x, y in batches[5:]:
        other.train_on_batch(x, y)
    assert_weights(other, undisturbed.get_weights(), atol=1e-7)


CONTINUE = """
import sys
import keras, numpy as np
from tests.training.row_ranker import row_batches

model = keras.saving.load_model(sys.argv[1])
for x, y in row_batches(10)[5:]:
    model.train_on_batch(x, y)
np.savez(sys.argv[2], *model.get_weights())
"""


def test_training_goes_on_under_the_other_backend(tmp_path):
    batches, file = row_batches(10), tmp_path / "model.keras"
    model = train(row_ranker(), batches[:5], OPTIMIZERS["adam"](), **quick())
    model.save(file)
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    command = [sys.executable, "-c", CONTINUE, str(file), str(tmp_path / "weights.npz")]
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr[-3000:]
    for x, y in batches[5:]:
        model.train_on_batch(x, y)
    with np.load(tmp_path / "weights.npz") as found:
        assert_weights(model, [found[f"arr_{i}"] for i in range(3)])


def test_several_epochs_of_fit_are_one_after_the_other():
    model, batches = row_ranker(), row_batches(4)
    expected = trained(model.get_weights(), batches * 3, adagrad(0.1))
    x = {name: np.concatenate([x[name] for x, _ in batches]) for name in batches[0][0]}
    y = {"click": np.concatenate([y["click"] for _, y in batches])}
    model.compile(OPTIMIZERS["adagrad"](), weighted_metrics=[], **quick())
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert_weights(model, expected)


def test_with_mixed_bfloat16_rows_are_float32_and_others_stay():
    model, batches = row_ranker("mixed_bfloat16"), row_batches()
    before = model.get_weights()
    expected = trained(before, batches, adagrad(0.1))
    train(model, batches, OPTIMIZERS["adagrad"](), **quick())
    assert_weights(model, expected, atol=0.05)
    seen = np.isin(np.arange(ROWS), [table_ids(x) for x, _ in batches])
    np.testing.assert_array_equal(model.get_weights()[0][~seen], before[0][~seen])


def test_a_dynamic_loss_scale_is_part_of_a_keras_file(tmp_path):
    model = row_ranker("mixed_float16")
    model.compile(OPTIMIZERS["split"](), weighted_metrics=[])
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(64.0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(loaded, keras.optimizers.LossScaleOptimizer)
    assert float(loaded.dynamic_scale) == 64
    assert [v.shape for v in loaded.variables] == [v.shape for v in model.optimizer.variables]


def test_a_frozen_table_does_not_move():
    model, batches = row_ranker(), row_batches(3)
    before = model.get_weights()
    model.get_layer("fused_embedding").trainable = False
    train(model, batches, OPTIMIZERS["adagrad"](), **quick())
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert np.any(model.get_weights()[1] != before[1])


@pytest.mark.parametrize(
    ("argument", "what"),
    [({"use_ema": True}, "use_ema=True"), ({"gradient_accumulation_steps": 2}, "steps=2")],
)
def test_what_reads_whole_tables_is_an_error_that_says_what_to_do(argument, what):
    model = row_ranker()
    optimizer = SparseAdagrad(row_updates_from=0, **argument)
    message = f"SparseAdagrad updates table `.*embeddings`, of 50 rows.*{what} would read.*from=51"
    with pytest.raises(ValueError, match=message):
        optimizer.build(model.trainable_variables)
    SparseAdagrad(row_updates_from=51, **argument).build(model.trainable_variables)


@pytest.mark.parametrize("what", ["regularizer", "constraint"])
def test_a_regularizer_or_constraint_of_a_table_is_an_error(what):
    model = row_ranker()
    table = model.get_layer("fused_embedding").embeddings
    values = {"regularizer": keras.regularizers.L2(0.1), "constraint": keras.constraints.NonNeg()}
    setattr(table, what, values[what])
    with pytest.raises(ValueError, match=f"its {what} would read all of them"):
        LazyAdam(row_updates_from=0).build(model.trainable_variables)
