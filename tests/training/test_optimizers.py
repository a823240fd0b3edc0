import keras
import numpy as np
import pytest

from keras_infnet.models import MODELS
from keras_infnet.training.optimizers import split_optimizer
from keras_infnet.training.recipe import fit_ranker
from keras_infnet.training.sparse_adagrad import SparseAdagrad
from tests.balances.toy import batches, made
from tests.tiny import schema
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows


def gradients_of_one_batch(model, rows):
    """Gradients of the mean cross entropies, written out for table -> flatten -> sigmoid heads."""
    x, y, _ = rows
    ids = x["categorical"]
    table, *heads = model.get_weights()
    flat = table[ids].reshape(len(ids), -1)
    upstream, found = 0.0, []
    for kernel, bias, labels in zip(heads[::2], heads[1::2], y.values(), strict=True):
        error = (1 / (1 + np.exp(-(flat @ kernel + bias))) - labels) / len(ids)
        found += [flat.T @ error, error.sum(axis=0)]
        upstream = upstream + error @ kernel.T
    gradient = np.zeros_like(table)
    np.add.at(gradient, ids, upstream.reshape(*ids.shape, -1))
    return [gradient, *found]


def test_tables_and_dense_weights_take_the_step_of_their_own_optimizer():
    rows = tiny_rows(10, num_ids=40)
    # No id twice: stock Keras on TensorFlow squares sparse gradients before summing duplicates.
    rows[0]["categorical"][:] = np.random.default_rng(0).permutation(40)[:20].reshape(10, 2)
    model = tiny_ranker()
    before, gradients = model.get_weights(), gradients_of_one_batch(model, rows)
    model.compile(split_optimizer(keras.optimizers.Adagrad(0.5), keras.optimizers.SGD(0.25)))
    model.train_on_batch(*rows)

    adagrad = before[0] - 0.5 * gradients[0] / np.sqrt(0.1 + gradients[0] ** 2 + 1e-7)
    sgd = [w - 0.25 * g for w, g in zip(before[1:], gradients[1:], strict=True)]
    for found, expected in zip(model.get_weights(), [adagrad, *sgd], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_defaults_are_adagrad_and_adamw_and_new_in_each_call():
    adagrad, adamw = split_optimizer().optimizers
    assert (type(adagrad), type(adamw)) == (SparseAdagrad, keras.optimizers.AdamW)
    np.testing.assert_allclose([adagrad.learning_rate, adamw.learning_rate], [0.05, 1e-4])
    assert split_optimizer().optimizers[0] is not adagrad


@pytest.mark.parametrize("name", MODELS)
def test_of_a_model_the_embeddings_optimizer_gets_the_tables_alone(name):
    fitted = schema()
    variables = MODELS[name](fitted).trainable_variables
    optimizer = split_optimizer()
    optimizer.build(variables)
    rows = sum(fitted.table_rows().values())
    embeddings, dense = (
        [v.path for v in part._trainable_variables] for part in optimizer.optimizers
    )
    assert embeddings == [v.path for v in variables if v.shape[0] == rows]
    assert len(dense) == len(variables) - len(embeddings) > 0


@pytest.mark.parametrize("name", ["INFNet", "MMoE"])
def test_muon_gets_matrices_and_neither_tables_nor_biases_norms_and_outputs(name):
    variables = MODELS[name](schema()).trainable_variables
    optimizer = split_optimizer(matrices=keras.optimizers.Muon(1e-3))
    optimizer.build(variables)
    embeddings, muon, dense = (
        {v.path for v in part._trainable_variables} for part in optimizer.optimizers
    )
    shapes = {v.path: tuple(v.shape) for v in variables}
    assert len(embeddings) + len(muon) + len(dense) == len(variables)
    assert {"click_head/hidden/kernel"} < muon
    assert all(len(shapes[path]) == 2 and min(shapes[path]) > 1 for path in muon)
    # What stays has another number of axes, or is no kernel, or the output of a head.
    assert "click_head/output/kernel" in dense
    assert not [p for p in dense if len(shapes[p]) == 2 and "kernel" in p and "output" not in p]
    # Muon has a second moment only of what it treats as AdamW does.
    assert not any(v is not None for v in optimizer.optimizers[1].adam_velocities)


def test_a_step_of_muon_is_nearly_orthogonal_and_goes_on_from_a_file(tmp_path):
    keras.utils.set_random_seed(0)
    model = made(optimizer=split_optimizer(matrices=keras.optimizers.Muon(0.1, weight_decay=None)))
    kernel = model.get_layer("shared").kernel
    before = keras.ops.convert_to_numpy(kernel)
    steps = batches()
    model.train_on_batch(*steps[0])
    step = keras.ops.convert_to_numpy(kernel) - before
    # rate * 0.2 * sqrt(longer side) * U V^T, whose Newton-Schulz values lie around 1.
    sizes = np.linalg.svd(step, compute_uv=False) / (0.1 * 0.2 * np.sqrt(max(step.shape)))
    assert np.all((sizes > 0.5) & (sizes < 1.4))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for m in (model, loaded):
        m.train_on_batch(*steps[1])
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_keras_file_keeps_the_state_so_that_training_goes_on(tmp_path):
    rows, more = tiny_rows(seed=1), tiny_rows(seed=2)
    model = tiny_ranker()
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 100)
    optimizer = split_optimizer(dense=keras.optimizers.AdamW(schedule))
    fit_ranker(model, batches_of(rows), optimizer=optimizer, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    first, second = (m.optimizer.variables for m in (model, loaded))
    assert len(first) == len(second) > 4
    for m in (model, loaded):
        m.train_on_batch(*more)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_a_pattern_without_a_table_is_an_error_that_lists_the_paths():
    model = tiny_ranker()
    model.compile(split_optimizer(tables="no_such_table"))
    message = "no variable's path matches tables='no_such_table'.*fused_embedding/embeddings"
    with pytest.raises(ValueError, match=message):
        model.fit(batches_of(tiny_rows()), verbose=0, shuffle=False)
