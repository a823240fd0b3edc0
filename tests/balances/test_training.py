"""Balances in training: which weights they touch, members, tables by rows, files, bad input."""

import dataclasses
import re

import keras
import numpy as np
import pytest

import keras_infnet
from keras_infnet import balances, models
from keras_infnet._base.weights_of_tasks import weights_of_tasks
from keras_infnet.optimizers import SparseAdagrad, split_optimizer
from tests import tiny
from tests.balances.toy import LOSS_WEIGHTS, OneLayer, batches, made


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class Fixed(balances.Balance):
    """Weights that never change: what they do is known."""

    of_tasks: tuple[float, ...] = (0.5, 2.0, 3.0)
    reads: str = "losses"

    def weights(self, state, step):
        return keras.ops.convert_to_tensor(self.of_tasks)


def sgd():
    return keras.optimizers.SGD(0.1)


def trained(model, steps):
    for x, y, weights in steps:
        model.train_on_batch(x, y, weights)
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


def changes(model, steps):
    before = trained(model, ())
    return {path: value - before[path] for path, value in trained(model, steps).items()}


@pytest.mark.parametrize("members", [1, 2])
def test_shared_weights_get_the_weighted_sum_and_own_weights_their_own_gradient(members):
    step = batches()[:1]
    scaled = {t: w * f for (t, w), f in zip(LOSS_WEIGHTS.items(), Fixed().of_tasks, strict=True)}
    by_loss = changes(made(members, optimizer=sgd(), loss_weights=scaled), step)
    plain = changes(made(members, optimizer=sgd()), step)
    balanced = changes(made(members, optimizer=sgd(), balance=Fixed()), step)
    for path, change in balanced.items():
        expected = plain if "_head" in path else by_loss
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(change, expected[path], atol=2e-6)


def test_the_loss_that_is_shown_is_the_plain_sum():
    x, y, weights = batches()[0]
    found = [
        made(optimizer=sgd(), balance=balance).train_on_batch(x, y, weights, return_dict=True)
        for balance in (None, Fixed())
    ]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-6)


def test_tables_by_rows_take_the_step_of_whole_tables():
    found = [
        trained(
            made(optimizer=SparseAdagrad(0.1, row_updates_from=rows), balance="pcgrad"), batches()
        )
        for rows in (0, 1000)
    ]
    for path, value in found[0].items():
        np.testing.assert_allclose(value, found[1][path], atol=2e-6)


def test_training_goes_on_from_a_file_as_if_nothing_had_happened(tmp_path):
    whole, cut = (made(optimizer=split_optimizer(), balance="famo") for _ in range(2))
    steps = batches()
    trained(cut, steps[:3])
    cut.save(tmp_path / "cut.keras")
    loaded = keras.models.load_model(tmp_path / "cut.keras")
    assert loaded.balance.balance == balances.FAMO()
    assert loaded.balance.weights == cut.balance.weights != dict.fromkeys(LOSS_WEIGHTS, 1.0)
    expected, found = trained(whole, steps), trained(loaded, steps[3:])
    for value, other in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-6)
    # The state is the optimizer's: two models have equally many weights, balanced or not.
    assert len(loaded.weights) == len(made(optimizer="sgd").weights)


def test_mixed_float16_scales_the_losses_and_not_the_weights():
    found = []
    for dtype in ("float32", "mixed_float16"):
        model = made(dtype=dtype, optimizer=sgd(), balance=balances.CAGrad())
        trained(model, batches()[:2])
        found.append(list(model.balance.weights.values()))
    np.testing.assert_allclose(*found, atol=0.05)


def test_the_recipe_takes_a_balance_and_keeps_that_of_compile():
    from tests.training.tiny_ranker import batches_of

    x, y, weights = batches()[0]
    data = batches_of((x, y, weights), 8)
    model = made()
    keras_infnet.fit_ranker(model, data, balance=balances.GradNorm(first_steps=1), verbose=0)
    assert model.balance.kind == "GradNorm"
    first = model.balance
    keras_infnet.fit_ranker(model, data, verbose=0)
    assert model.balance.balance == first.balance
    assert model.balance is not first


@pytest.mark.one_backend
@pytest.mark.parametrize("model_class", [models.INFNet, models.PLE])
def test_heads_and_experts_of_a_task_are_its_own_and_all_else_is_shared(model_class):
    schema = tiny.schema()
    model = model_class(schema, dim=8, members=2)
    found = weights_of_tasks(model, tuple(schema.task_names))
    for variable in model.trainable_variables:
        own = [
            t
            for t in schema.task_names
            if re.search(rf"/({t}_head|level_._{t}_gate|level_1_{t}_experts)/", variable.path)
        ]
        assert found.owner(variable) == (own[0] if own else None), variable.path
        assert own or found.shared(variable, 3)


@pytest.mark.one_backend
def test_tasks_that_are_not_trained_are_left_out():
    model = made(loss_weights={"b": 0}, balance="dwa")
    assert model.balance.tasks == ("a", "c")
    assert made(loss={"a": None}, balance="dwa").balance.tasks == ("b", "c")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("compiled", "message"),
    [
        ({"balance": "pc_grad"}, "unknown balance `pc_grad`. Did you mean `pcgrad`?"),
        ({"balance": "mean"}, "unknown balance `mean`. Known: uncertainty, dwa, gradnorm, pcgrad"),
        ({"balance": 0.4}, "balance is a float; expected one of uncertainty, .*CAGrad.c=0.4"),
        (
            {"balance": "dwa", "loss_weights": {"a": 0, "c": 0}},
            "balance=DWA weighs tasks against each other, .* are `b`; expected two or more",
        ),
        (
            {
                "balance": "famo",
                "optimizer": split_optimizer(
                    dense=keras.optimizers.SGD(gradient_accumulation_steps=2)
                ),
            },
            "balance=FAMO compares the losses .*gradient_accumulation_steps.*larger batches",
        ),
    ],
)
def test_a_balance_that_can_not_be_is_an_error_that_says_why(compiled, message):
    with pytest.raises(ValueError, match=f"compile: {message}"):
        made(**compiled)


@pytest.mark.one_backend
def test_an_optimizer_keeps_its_balance_and_takes_no_other():
    model = made(balance="famo")
    model.recompile(model.optimizer)
    assert sum("balance_logits" in v.path for v in model.optimizer.variables) == 1
    message = r"the optimizer holds the state of FAMO\(.*between a, b, c. Compile with a new"
    with pytest.raises(ValueError, match=message):
        model.recompile(model.optimizer, balance="dwa")


@pytest.mark.one_backend
def test_losses_that_may_be_negative_are_not_compared():
    tasks = [keras_infnet.BinaryTask("click"), keras_infnet.CountTask("orders")]
    model = OneLayer(tiny.schema("none", tasks), dim=4)
    with pytest.raises(ValueError, match='of task `orders` may be below. Take "pcgrad"'):
        model.compile(balance="gradnorm")
    model.compile(balance="pcgrad")


def test_tasks_that_share_tables_alone_have_no_gradients_to_compare():
    schema = tiny.schema("none", features=tiny.FEATURES[:2])
    model = models.FM(schema, dim=4)
    model.compile(balance="cagrad", **tiny.quick())
    x, (y, w) = tiny.inputs(schema), tiny.labels(schema)
    message = "FM: the tasks share no weights besides embedding tables, and balance=CAGrad"
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(x, y, w)
