import json

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, CountTask, FeatureSchema
from keras_infnet.models import ESMM
from keras_infnet.models.esmm import logit_of_product
from tests import tiny
from tests.gradients import gradients
from tests.reference import funnel as reference
from tests.reference.textbook import Weights, sigmoid

SIZES = {"dim": 4, "hidden_dims": (7, 6), "head_dim": 5}


def whole(name, observed_when):
    return BinaryTask(name, observed_when=observed_when, entire_space=True)


# A path of three that is listed from its end.
PATH = (whole("long_view", "like"), BinaryTask("click"), whole("like", "click"))
PARENTS = {"long_view": "like", "click": None, "like": "click"}


def made(history="none", **arguments):
    schema = tiny.schema(history, tasks=PATH, rates={"long_view": 0.01})
    return tiny.randomise(ESMM(schema, **SIZES, **arguments), scale=0.4)


def path_labels(batch=16):
    """Labels of which each is 0 where the one before it is."""
    y, _ = tiny.labels(tiny.schema("none", tasks=PATH), batch)
    y["like"] = y["like"] * y["click"]
    return {**y, "long_view": y["long_view"] * y["like"]}


@pytest.mark.parametrize("history", ["exposures", "none"])
def test_outputs_equal_the_formula(history):
    model = made(history)
    x = tiny.inputs(model.schema, batch=16)
    expected = reference.esmm(Weights.of(model), model.schema, x, PARENTS, 2)
    outputs = tiny.predict(model, x)
    for task in PARENTS:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)
    assert (outputs["long_view"] <= outputs["like"]).all()
    assert (outputs["like"] <= outputs["click"]).all()


def test_losses_are_those_of_the_products_in_all_rows():
    model = made()
    x, y = tiny.inputs(model.schema, batch=16), path_labels()
    p = reference.esmm(Weights.of(model), model.schema, x, PARENTS, 2)
    model.compile(keras.optimizers.SGD(0.0), weighted_metrics=[], **tiny.quick())
    logs = model.train_on_batch(x, y, return_dict=True)
    expected = {task: reference.entropy(y[task], p[task]) for task in PARENTS}
    for task, loss in expected.items():
        np.testing.assert_allclose(logs[f"{task}_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], sum(expected.values()), rtol=1e-5)


def test_the_loss_of_a_purchase_moves_the_click_too_where_there_was_none():
    """Of label 0, `dL/da = P / (1 - P) (1 - sigmoid(a))` by hand, and likewise for `b`."""
    schema = tiny.schema("none", tasks=PATH[1:])
    model = tiny.randomise(ESMM(schema, **SIZES), scale=0.4)
    x, w = tiny.inputs(schema), Weights.of(model)
    p = reference.esmm(w, schema, x, {"click": None, "like": "click"}, 2)
    p_click, p_like = p["click"], p["like"]

    def loss(outputs):
        labels = keras.ops.zeros_like(outputs["like"])
        return keras.ops.mean(keras.losses.binary_crossentropy(labels, outputs["like"]))

    found = gradients(model, x, loss)
    odds = p_like / (1 - p_like)
    of_click, of_like = np.mean(odds * (1 - p_click)), np.mean(odds * (1 - p_like / p_click))
    np.testing.assert_allclose(found["click_head/output/bias"], [of_click], rtol=1e-4)
    np.testing.assert_allclose(found["like_head/output/bias"], [of_like], rtol=1e-4)
    for tower in ("click_tower_0", "like_tower_0"):
        assert np.abs(found[f"{tower}/kernel"]).max() > 0


def test_the_logit_of_a_product_is_exact_at_the_ends():
    a, b = (v.ravel() for v in np.meshgrid(*[[-60.0, -20, -3, 0, 1e-3, 4, 12, 60]] * 2))
    log_p = -np.logaddexp(0, -a) - np.logaddexp(0, -b)
    with np.errstate(divide="ignore"):
        expected = log_p - np.log(-np.expm1(log_p))
    found = keras.ops.convert_to_numpy(
        logit_of_product(*(keras.ops.convert_to_tensor(v, "float32") for v in (a, b)))
    )
    np.testing.assert_allclose(found[expected < 50], expected[expected < 50], rtol=1e-5, atol=1e-6)
    assert (found <= np.minimum(a, b).astype("float32")).all()
    # A click that is certain leaves the other probability.
    assert found[(a == 60) & (b == 4)] == 4


@pytest.mark.one_backend
def test_heads_start_at_the_odds_given_their_parent_and_others_are_as_they_were():
    tasks = (*PATH, CountTask("orders", observed_when="click"))
    schema = tiny.schema("none", tasks=tasks, rates={"long_view": 0.01, "orders": 2.0})
    model = ESMM(schema, **SIZES)
    starts = {t: model.get_layer(f"{t}_head").bias for t in schema.task_names}
    given = {"click": 0.4, "like": 0.05 / 0.4, "long_view": 0.01 / 0.05}
    for task, rate in given.items():
        np.testing.assert_allclose(sigmoid(np.array(starts[task])), [rate])
    assert starts["orders"] == [pytest.approx(np.log(2.0))]
    assert tiny.predict(model, tiny.inputs(schema))["orders"].min() > 1


@keras.saving.register_keras_serializable(package="tests")
class FunnelINFNet(ESMM):
    Config = keras_infnet.INFNet.Config
    network = staticmethod(keras_infnet.INFNet.network)


@pytest.mark.one_backend
def test_another_network_has_the_same_products(tmp_path):
    schema = tiny.schema("exposures")
    model = tiny.randomise(FunnelINFNet(schema, dim=8, num_blocks=1), scale=0.3)
    plain = keras_infnet.INFNet(schema, dim=8, num_blocks=1)
    plain.set_weights(model.get_weights())
    x = tiny.inputs(schema)
    outputs, factors = tiny.predict(model, x), tiny.predict(plain, x)
    np.testing.assert_allclose(outputs["click"], factors["click"], atol=1e-6)
    np.testing.assert_allclose(outputs["like"], factors["click"] * factors["like"], atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(tiny.predict(loaded, x)["like"], outputs["like"], atol=1e-6)


@pytest.fixture(scope="module")
def shop():
    """Exposures, clicks and purchases of which some have no click, and a model that was trained."""
    draw = np.random.default_rng(0)
    log = pd.DataFrame(
        {"user_id": draw.integers(20, size=3000), "item": draw.integers(9, size=3000)}
    )
    log["click"] = (draw.random(3000) < 0.1 + 0.08 * log["item"]).astype(int)
    log["buy"] = (draw.random(3000) < np.where(log["click"], 0.1 + 0.1 * log["item"], 0.1)) * 1
    schema = FeatureSchema(
        [CategoricalFeature("user_id", "user"), CategoricalFeature("item", "item")],
        [BinaryTask("click"), whole("buy", "click")],
        time_key=None,
    )
    with pytest.warns(UserWarning, match="Task `buy`: .* of 2000 training rows .*count as 0"):
        data = keras_infnet.RankingData(schema, log, test=log[2000:])
    keras_infnet.training.set_seeds(0)
    model = ESMM(data.schema, dim=4, hidden_dims=(8,), head_dim=4)
    model.compile(keras.optimizers.Adam(0.05), weighted_metrics=[], **tiny.quick())
    for x, y, weights in [batch for _ in range(4) for batch in data.train.as_numpy_iterator()]:
        model.train_on_batch(x, y, weights)
    return data, model


@pytest.mark.one_backend
def test_measures_and_calibration_are_of_all_exposures(shop):
    data, model = shop
    rows, p = data.frame("test"), data.predict(model, "test")
    labels = rows["click"] * rows["buy"]
    measured = data.evaluate(model, "test").loc["buy"]
    assert measured["log_loss"] == pytest.approx(log_loss(labels, p["buy"]), rel=1e-4)
    assert measured["auc"] == pytest.approx(roc_auc_score(labels, p["buy"]))
    rate = labels.mean()
    assert measured["log_loss"] < -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    # What was drawn, given a click: .1 to .9 by item.
    given_click = (p["buy"] / p["click"]).groupby(rows["item"]).mean()
    assert np.abs(given_click - (0.1 + 0.1 * given_click.index)).max() < 0.2
    # Platt's map has the mean of the labels that it was fitted on.
    calibrated = data.calibrate(model, "test").transform(p)
    assert np.mean(calibrated["buy"]) == pytest.approx(rate, abs=1e-3)


@pytest.mark.one_backend
def test_what_is_served_says_that_it_is_of_the_entire_space(shop, tmp_path):
    data, model = shop
    # It compares the answers with those of the Keras model.
    path = keras_infnet.serving.export(model, data, tmp_path / "ranker")
    card = json.loads((path / "assets.extra" / "model_card.json").read_text("utf-8"))
    assert {t: c["entire_space"] for t, c in card["tasks"].items()} == {"click": False, "buy": True}
    assert card["verified_on"]["largest_difference"] < 1e-5
