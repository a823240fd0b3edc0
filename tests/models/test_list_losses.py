"""List losses in training: what the model makes of batches of lists, on both backends."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    FeatureSchema,
    RankingData,
    RegressionTask,
    fit_ranker,
)
from keras_infnet.losses import JRC, RCR, CombinedPair
from keras_infnet.models import SharedBottom
from keras_infnet.optimizers import LazyAdam
from tests import tiny

TASKS = (BinaryTask("click"), BinaryTask("buy", observed_when="click", loss_weight=2.0))


def schema(list_key="list", tasks=TASKS):
    features = [CategoricalFeature("item", "item", dtype="int")]
    return FeatureSchema(features, tasks, list_key=list_key, time_key=None)


@pytest.fixture(scope="module")
def data():
    """Lists of 1 to 6 rows; some rows in none."""
    draw = np.random.default_rng(0)
    lists = np.repeat(np.arange(40), draw.integers(1, 7, 40))
    log = pd.DataFrame({"user_id": lists // 2, "list": lists})
    log["item"], log["buy"] = draw.integers(0, 9, len(log)), draw.integers(0, 2, len(log))
    log["click"] = (log["item"] + draw.integers(0, 4, len(log)) > 5).astype(int)
    log.loc[::9, "list"] = -1
    return RankingData(schema(), log, validation=log[-30:], batch_size=16, by="list")


def make(data, members=1, **compiled):
    keras.utils.set_random_seed(0)
    model = SharedBottom(data.schema, dim=4, hidden_dims=(8,), members=members)
    tiny.randomise(model)
    model.compile(keras.optimizers.SGD(0.0), **tiny.quick(), **compiled)
    return model


def batch(data):
    return next(data.train.as_numpy_iterator())


def own(p, y, w):
    return np.sum(-w * (y * np.log(p) + (1 - y) * np.log(1 - p)))


@pytest.mark.parametrize("members", [1, 2])
def test_losses_of_tasks_add_up_over_the_rows_that_are_there(data, members):
    losses = {"click": JRC(0.3)}
    model = make(data, members, list_losses=losses)
    x, y, w = batch(data)
    assert (y["#list"] == -2).any()
    found = model.train_on_batch(x, y, w, return_dict=True)["loss"]
    outputs = tiny.train_outputs(model, x)
    expected = []
    for member in range(members):
        p = {t: np.array(o).reshape(16, -1)[:, member, None] for t, o in outputs.items()}
        click = losses["click"](np.concatenate([y["click"], y["#list"]], 1), p["click"], w["click"])
        buy = own(p["buy"], y["buy"], w["buy"]) / np.sum(y["#list"] != -2)
        expected.append(float(click) + 2 * buy)
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_evaluations_show_the_tasks_own_losses(data):
    x, y, w = batch(data)
    model = make(data, list_losses={"click": JRC(), "buy": CombinedPair()})
    plain = make(data)
    found, expected = (
        m.evaluate(data.batches("validation", by="list"), return_dict=True, verbose=0)
        for m in (model, plain)
    )
    assert found == pytest.approx(expected, rel=1e-5)
    rows = plain.evaluate(data.validation, return_dict=True, verbose=0)
    # Epochs of Keras weigh batches by their places: of one batch it is exact.
    one = model.evaluate(data.batches("validation", by="list", batch_size=40), verbose=0)
    assert one[0] == pytest.approx(rows["loss"], rel=1e-5)


def test_pairs_of_a_batch_need_no_lists_and_members_never_meet(data):
    x, y, w = batch(data)
    y, w = {t: y[t] for t in ("click", "buy")}, {t: np.ones_like(v) for t, v in w.items()}
    pair = CombinedPair(1.0)
    model = make(data, 2, loss_weights={"buy": 0.0}, list_losses={"click": pair})
    found = model.train_on_batch(x, y, w, return_dict=True)["loss"]
    p = np.array(tiny.train_outputs(model, x)["click"])[..., 0]
    labels = np.concatenate([y["click"], 0 * y["click"]], 1)
    expected = [float(pair(labels, p[:, [m]])) for m in range(2)]
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize(
    "loss, how",
    [(JRC(), {}), (RCR(), tiny.quick()), (CombinedPair(within="list"), tiny.quick())],
)
def test_training_lowers_each_loss_under_compilation_and_by_rows(data, loss, how):
    keras.utils.set_random_seed(0)
    model = SharedBottom(data.schema, dim=4, hidden_dims=(8,))
    model.compile(LazyAdam(0.05, row_updates_from=1), list_losses={"click": loss}, **how)
    history = model.fit(data.train, epochs=6, shuffle=False, verbose=0).history["click_loss"]
    assert history[-1] < history[0] - 0.1


def test_the_recipe_and_files_keep_list_losses(data, tmp_path):
    model = SharedBottom(data.schema, dim=4, hidden_dims=(8,))
    model.compile("adam", **tiny.quick())
    fit_ranker(model, data, list_losses={"click": RCR(0.2)}, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.recompile("sgd")
    for again in (model, loaded):
        assert isinstance(again._list_losses["click"], RCR)
        assert again._list_losses["click"].list_weight == 0.2
    loaded.recompile("sgd", list_losses={"click": JRC()})
    assert isinstance(loaded._list_losses["click"], JRC)
    clone = keras.models.clone_model(model)
    clone.compile("sgd")
    assert not clone._list_losses


def test_batches_without_lists_are_named(data):
    model = make(data, list_losses={"click": JRC()})
    with pytest.raises(
        ValueError, match=r"task `click` \(JRC\) compares.*know no lists.*by=\"list\""
    ):
        model.fit(data.batches("train", shuffle=True), shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "key, tasks, arguments, message",
    [
        (None, TASKS, {"list_losses": {"click": JRC()}}, r"`click` \(JRC\).*knows no lists"),
        ("list", TASKS, {"list_losses": {"clik": JRC()}}, "no task `clik`.*click"),
        ("list", TASKS, {"list_losses": JRC()}, "list_losses is a JRC; expected a dict by task"),
        ("list", TASKS, {"list_losses": {"click": "jrc"}}, "`click` is 'jrc'; expected one of"),
        (
            "list",
            TASKS,
            {"list_losses": {"click": JRC()}, "loss": "mse"},
            "task `click` has a loss and a list loss",
        ),
        (
            "list",
            (RegressionTask("watch"),),
            {"list_losses": {"watch": RCR()}},
            r"task `watch` is a RegressionTask.*\(RCR\).*expected a BinaryTask",
        ),
    ],
)
def test_arguments_that_are_none(key, tasks, arguments, message):
    fitted = schema(key, tasks).with_sizes({"item": 5})
    model = SharedBottom(fitted, dim=2, hidden_dims=(2,))
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", **arguments)
