import numpy as np
import pandas as pd
import pytest

import keras_infnet as ki
from keras_infnet.data import Batches, FeatureEncoder
from keras_infnet.models import MODELS
from keras_infnet.serving import export
from tests import tiny

HUGE = 3.4e38
SCHEMA = ki.FeatureSchema(
    [ki.CategoricalFeature("video_id", "item", dtype="int"), ki.DenseFeature("d", "item", dim=3)],
    [ki.BinaryTask("click")],
)
VECTORS = [[HUGE, -HUGE, HUGE], [HUGE] * 3, [-HUGE, HUGE, HUGE], [0.5, -0.0, 1e-40]]
LOG = pd.DataFrame({"video_id": range(8), "d": VECTORS * 2, "click": [0, 1] * 4})
WARNS = pytest.warns(UserWarning, match=r"`d`: 18 of 24 numbers are beyond .*1e\+06.*Scale")


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(SCHEMA).fit(LOG)


def test_no_probability_is_nan(encoder):
    model = ki.INFNet(encoder.schema, dim=8, head_dim=8)
    with WARNS:
        packed = encoder.transform(LOG)
    for seed in range(5):
        tiny.randomise(model, seed, scale=0.6)
        assert np.isfinite(np.asarray(tiny.predict(model, packed)["click"])).all()


@pytest.mark.parametrize("name", ["INFNet", "DCNv2"])
@pytest.mark.parametrize("dtype", ["mixed_float16", "float16"])
def test_no_probability_is_nan_in_float16(encoder, name, dtype):
    """There 65,520 is infinite. Numbers of usual size stay what they are in float32."""
    model = MODELS[name](encoder.schema, dim=8, dtype=dtype)
    usual = MODELS[name](encoder.schema, dim=8)
    with WARNS:
        packed = encoder.transform(LOG)
    small = {**packed, "dense": np.clip(packed["dense"], -1, 1)}
    for seed in range(3):
        for each in (model, usual):
            tiny.randomise(each, seed, scale=0.3)
        assert np.isfinite(np.asarray(tiny.predict(model, packed)["click"])).all()
        found, expected = (tiny.predict(each, small)["click"] for each in (model, usual))
        np.testing.assert_allclose(found, expected, atol=0.02)


CROSSES = [("DCNv2", {"projection_dim": 8}), ("DCNv2", {}), ("GDCN", {"structure": "stacked"})]


@pytest.mark.parametrize(("name", "options"), CROSSES, ids=str)
def test_cross_layers_with_large_weights_are_finite_in_float16(name, options):
    schema, sizes = tiny.schema(), {"num_cross_layers": 4, **options}
    inputs = tiny.inputs(schema)
    inputs["dense"] = np.where(inputs["dense"] > 0, 1e6, -1e6).astype("float32")
    for dtype in ("mixed_float16", "float16"):
        model = MODELS[name](schema, dtype=dtype, **sizes)
        for seed in range(2):
            outputs = tiny.randomise(model, seed, scale=0.3)(inputs)
            assert all(np.isfinite(np.asarray(y)).all() for y in outputs.values())


@pytest.mark.one_backend
def test_usual_values_stay_and_others_are_the_nearest_that_counts(encoder):
    with WARNS:
        dense = encoder.transform(LOG)["dense"][:4]
    expected = np.array(VECTORS, "float32").clip(-1e6, 1e6)
    np.testing.assert_array_equal(dense.view("int32"), expected.view("int32"))
    with WARNS:
        (x, _, _), *_ = Batches.from_rows(encoder, LOG, batch_size=4)
    np.testing.assert_array_equal(x["dense"], expected)


@pytest.mark.one_backend
@pytest.mark.parametrize(("dtype", "scale"), [("float32", 0.6), ("mixed_float16", 0.3)])
def test_what_is_served_is_finite_and_equal(encoder, tmp_path, dtype, scale):
    import tensorflow as tf

    model = tiny.randomise(ki.INFNet(encoder.schema, dim=8, head_dim=8, dtype=dtype), scale=scale)
    with pytest.warns(UserWarning, match="beyond"):
        # It compares the answers to these rows with Keras's.
        path = export(model, encoder, tmp_path / "ranker", LOG)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    rows = {"video_id": tf.range(4, dtype="int64"), "d": tf.constant(VECTORS, "float32")}
    with WARNS:
        expected = model.predict(encoder.transform(LOG), verbose=0)["click"][:4]
    np.testing.assert_allclose(served(**rows)["click"], expected, atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "scale"), [("float32", 0.6), ("mixed_float16", 0.15)])
def test_every_model_and_task_is_finite_at_the_ends(name, dtype, scale):
    tasks = (ki.BinaryTask("click"), ki.CountTask("orders"), ki.RegressionTask("watch"))
    rates = {"click": 0.3, "orders": 1.0, "watch": 2.0}
    schema = tiny.schema(tasks=tasks, rates=rates)
    inputs, model = tiny.inputs(schema), MODELS[name](schema, dtype=dtype)
    inputs["dense"] = np.where(inputs["dense"] > 0, 1e6, -1e6).astype("float32")
    for seed in range(2):
        outputs = tiny.randomise(model, seed, scale=scale)(inputs)
        assert all(np.isfinite(np.asarray(y)).all() for y in outputs.values())


@pytest.mark.one_backend
def test_huge_weights_of_a_bag_are_a_mean_too():
    bag = ki.CategoricalFeature("tag", "item", max_values=2, weights="weight")
    schema = ki.FeatureSchema([bag], [ki.BinaryTask("click")])
    log = pd.DataFrame({"tag": [["a", "b"]] * 2, "weight": [[HUGE] * 2] * 2, "click": [0, 1]})
    packed = FeatureEncoder(schema).fit(log).transform(log)
    assert np.isfinite(packed["bag_weights"].sum(axis=1)).all()
