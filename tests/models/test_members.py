import keras
import numpy as np
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, INFNet, MulticlassTask
from keras_infnet.models import SharedBottom
from keras_infnet.models.ranking_model import MemberMean
from tests import tiny
from tests.gradients import gradients

WEIGHTS = {"click": 1.0, "like": 2.0}


def two_members(model_class):
    return tiny.randomise(model_class(tiny.schema(), dim=4, members=2), scale=0.15)


def alone(model, member):
    """A model of one network with the weights of one member."""
    single = type(model)(model.schema, dim=4)
    of_member = {v.path.removeprefix(f"member_{member}/"): v for v in model.weights}
    for weight in single.weights:
        weight.assign(np.array(of_member[weight.path]))
    return single


@pytest.mark.parametrize("model_class", [INFNet, SharedBottom])
def test_outputs_are_the_mean_of_the_members(model_class):
    model = two_members(model_class)
    x = tiny.inputs(model.schema)
    members = [tiny.predict(alone(model, m), x) for m in range(2)]
    for task, p in tiny.predict(model, x).items():
        np.testing.assert_allclose(p, (members[0][task] + members[1][task]) / 2, atol=1e-6)
        assert np.abs(members[0][task] - members[1][task]).max() > 1e-3


def test_each_member_has_its_own_loss():
    model = two_members(SharedBottom)
    x, (y, w) = tiny.inputs(model.schema), tiny.labels(model.schema)
    model.compile(keras.optimizers.SGD(0.0), **tiny.quick())
    trained = model.fit(x, y, sample_weight=w, batch_size=6, verbose=0).history
    losses, aucs = [], []
    for member in range(2):
        single = alone(model, member)
        single.compile("sgd", **tiny.quick())
        losses.append(single.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)["loss"])
    evaluated = model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    np.testing.assert_allclose(trained["loss"], np.mean(losses), rtol=1e-5)
    assert evaluated["loss"] < np.mean(losses) - 1e-4
    for task in model.schema.task_names:
        aucs.append((trained[f"{task}_auc"][0], evaluated[f"{task}_auc"]))
    np.testing.assert_allclose(*zip(*aucs, strict=True), atol=1e-6)


def test_gradients_of_a_member_are_its_own_and_those_of_the_tables_a_mean():
    model = two_members(SharedBottom)
    x, (y, w) = tiny.inputs(model.schema), tiny.labels(model.schema)

    def loss_of(some):
        some.compile("sgd", **tiny.quick())
        return lambda outputs: some.compute_loss(x, y, outputs, w, training=True)

    found = gradients(model, x, loss_of(model), training=True)
    singles = []
    for member in range(2):
        single = alone(model, member)
        singles.append(gradients(single, x, loss_of(single), training=True))
        for path, gradient in singles[-1].items():
            name = f"member_{member}/{path}"
            if name in found:
                np.testing.assert_allclose(found[name], gradient / 2, atol=1e-6)
    tables = "fused_embedding/embeddings"
    mean = (singles[0][tables] + singles[1][tables]) / 2
    np.testing.assert_allclose(found[tables], mean, atol=1e-6)


def test_attention_of_a_member_is_that_of_its_network():
    model = two_members(INFNet)
    x = tiny.inputs(model.schema)
    expected = alone(model, 1).attention_weights(x)["history"]["tasks"]
    found = model.attention_weights(x, member=1)["history"]["tasks"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("model_class", [INFNet, SharedBottom])
def test_members_may_have_tables_of_their_own(model_class):
    schema = tiny.schema()
    x, (y, _) = tiny.inputs(schema), tiny.labels(schema)
    model = tiny.randomise(model_class(schema, dim=4, members=2, own_tables=True), scale=0.15)
    tables = [f"member_{m}/fused_embedding/embeddings" for m in range(2)]
    weights = {w.path: np.array(w) for w in model.weights}
    assert [path for path in weights if "embeddings" in path and "fused" in path] == tables
    assert np.any(weights[tables[0]] != weights[tables[1]])
    singles = [alone(model, m) for m in range(2)]
    expected = [tiny.predict(single, x) for single in singles]
    for task, p in tiny.predict(model, x).items():
        np.testing.assert_allclose(p, (expected[0][task] + expected[1][task]) / 2, atol=1e-6)

    def loss(outputs):
        return sum(keras.ops.mean((outputs[task] - y[task]) ** 2) for task in y)

    found = gradients(model, x, loss)
    assert all(np.any(np.array(found[path])) for path in tables)


def test_outputs_of_several_units_are_averaged_member_by_member():
    outputs = np.random.default_rng(0).random((5, 2, 3)).astype("float32")
    mean = MemberMean()
    np.testing.assert_allclose(mean(outputs), outputs.mean(1), atol=1e-6)
    np.testing.assert_array_equal(mean(outputs, training=True), outputs)


def test_members_of_several_units_have_a_loss_each():
    tasks = [MulticlassTask(name, classes=(0, 1, 2), loss_weight=w) for name, w in WEIGHTS.items()]
    schema = tiny.schema(tasks=tasks, rates=dict.fromkeys(WEIGHTS, [0.2, 0.5, 0.3]))
    model = tiny.randomise(SharedBottom(schema, dim=4, members=2), scale=0.15)
    x = tiny.inputs(model.schema)
    y = {task: np.arange(6)[:, None] % 3 for task in model.schema.task_names}
    w = {task: np.ones((6, 1), "float32") for task in y}
    model.compile(keras.optimizers.SGD(0.0), **tiny.quick())
    logs = model.fit(x, y, sample_weight=w, batch_size=6, verbose=0).history
    members, means = tiny.train_outputs(model, x), tiny.predict(model, x)
    total = 0
    for task in model.schema.tasks:
        p, mean = np.array(members[task.name]), np.array(means[task.name])
        assert p.shape == (6, 2, 3) and mean.shape == (6, 3)
        of_label = np.log(p[np.arange(6), :, np.arange(6) % 3])
        total -= task.loss_weight * of_label.mean()
        entropy = -np.log(mean[np.arange(6), np.arange(6) % 3]).mean()
        np.testing.assert_allclose(logs[f"{task.name}_log_loss"], entropy, rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-4)


def test_a_member_that_is_not_there_is_an_error():
    model = two_members(INFNet)
    with pytest.raises(ValueError, match="INFNet: no member 2; it has 2"):
        model.attention_weights(tiny.inputs(model.schema), member=2)
    with pytest.raises(ValueError, match="SharedBottom: `members` must be 1 or more"):
        SharedBottom(tiny.schema(), members=0)


def test_training_goes_on_from_a_file_to_the_last_bit_with_the_next_dropout(tmp_path):
    schema = FeatureSchema([CategoricalFeature("video_id", "item")], [BinaryTask("click")])
    schema = schema.with_sizes({"video_id": 10}, base_rates={"click": 0.5})
    sizes = {"dim": 4, "hidden_dims": (8,), "head_dim": 8}
    model = SharedBottom(schema, members=2, dropout=0.3, **sizes)
    x = {"categorical": np.arange(8, dtype="int32")[:, None]}
    y = {"click": np.arange(8).astype("float32")[:, None] % 2}
    model.compile("adam", **tiny.quick())
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for some in (model, loaded):
        some.train_on_batch(x, y)
    assert len(model.variables) > len(model.weights)
    for one, other in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))
