import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_infnet.callbacks import ExpertSharesCallback
from keras_infnet.models import PLE, MMoE, SharedBottom
from tests import tiny

SIZES = {"dim": 4, "expert_dims": (6,), "head_dim": 4}


class KeepShares(keras.callbacks.Callback):
    def __init__(self, x, member=0):
        super().__init__()
        self.x, self.member, self.kept = x, member, []

    def on_train_begin(self, logs=None):
        self.shares = self.model.expert_shares_function(self.member)

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.shares(self.x))


def fit(model, callbacks, epochs=2):
    model.compile(keras.optimizers.Adam(0.05), **tiny.quick())
    x, (y, w) = tiny.inputs(model.schema), tiny.labels(model.schema)
    return model.fit(
        x, y, sample_weight=w, batch_size=6, epochs=epochs, callbacks=callbacks, verbose=0
    ).history


def dataset(schema):
    x, (y, w) = tiny.inputs(schema), tiny.labels(schema)
    return tf.data.Dataset.from_tensor_slices((x, y, w)).batch(4)


def test_each_epoch_has_the_mean_over_rows():
    schema = tiny.schema("none")
    model = tiny.randomise(PLE(schema, num_levels=1, num_task_experts=1, **SIZES))
    keep = KeepShares(tiny.inputs(schema))
    history = fit(model, [ExpertSharesCallback(dataset(schema)), keep])
    written = {name for name in history if name.startswith("share_")}
    expected = {
        f"share_{gate}_{expert}": [np.mean(kept[gate][expert]) for kept in keep.kept]
        for gate, experts in model.expert_gates.items()
        for expert in experts
    }
    assert written == set(expected)
    for name, values in expected.items():
        assert isinstance(history[name][0], float)
        np.testing.assert_allclose(history[name], values, atol=1e-6)
    assert history["share_level_0_click_click_0"][0] != history["share_level_0_click_click_0"][1]


def test_only_the_gates_that_are_named_and_each_member():
    schema = tiny.schema("none")
    model = tiny.randomise(MMoE(schema, num_experts=2, members=2, **SIZES))
    keep = KeepShares(tiny.inputs(schema), member=1)
    history = fit(model, [ExpertSharesCallback(dataset(schema), gates=["like"]), keep], epochs=1)
    assert [name for name in history if name.startswith("share_")] == [
        "share_member_0_like_expert_0",
        "share_member_0_like_expert_1",
        "share_member_1_like_expert_0",
        "share_member_1_like_expert_1",
    ]
    expected = keep.kept[0]["like"]["expert_1"].mean()
    np.testing.assert_allclose(history["share_member_1_like_expert_1"], [expected], atol=1e-6)


def test_training_is_not_changed_by_it():
    schema, losses = tiny.schema("none"), []
    for callbacks in ([], [ExpertSharesCallback(dataset(schema))]):
        losses.append(fit(tiny.randomise(MMoE(schema, **SIZES)), callbacks)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize(
    ("model_class", "gates", "message"),
    [
        (
            SharedBottom,
            None,
            "SharedBottom has no experts; expected a model that has, such as MMoE",
        ),
        (MMoE, ["lik"], "no gate `lik` in MMoE. Did you mean `like`"),
        (MMoE, ["shared"], "no gate `shared` in MMoE. Known: click, like, long_view"),
    ],
)
def test_what_does_not_fit_is_an_error_before_training(model_class, gates, message):
    schema = tiny.schema("none")
    callback = ExpertSharesCallback(dataset(schema), gates)
    callback.set_model(model_class(schema, dim=4))
    with pytest.raises(ValueError, match=message):
        callback.on_train_begin()
