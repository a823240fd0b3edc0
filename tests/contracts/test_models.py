"""What every model must do."""

import functools

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.models import MODELS
from keras_infnet.models.infnet import Form
from tests import tiny
from tests.contracts.test_layers import assert_defaults_are_documented

BUILD = {
    **MODELS,
    "proxy_objective": functools.partial(INFNet, beta=0.5),
    "paper_v1": INFNet.paper_v1,
    "paper_v2": functools.partial(INFNet.paper_v2, num_blocks=2),
    # What is off by default, together.
    "options": functools.partial(
        INFNet,
        num_own_proxies=2,
        num_encoder_layers=1,
        num_blocks=2,
        form=Form(gate="interpolate", pooling="attention", cross_rank=4),
    ),
}
NEED_HISTORY = ("DIN", "DIEN", "HSTU", "OneTrans", "LONGER", "TokenFormer")
# On JAX each part has its own test, and all of them together compile for long.
PARTS = BUILD.keys() - {"options"}
NAMES = tiny.marked(BUILD, on_both=PARTS)
# A step of two members reaches the weights of each: these have no other test of it.
WITH_MEMBERS = MODELS if keras.backend.backend() == "tensorflow" else tiny.ON_BOTH
ALONE = [name for name in NAMES if name.values[0] not in WITH_MEMBERS]


@functools.cache
def model_of(name, history="exposures"):
    keras.utils.set_random_seed(0)
    return tiny.randomise(BUILD[name](tiny.schema(history), dim=8), scale=0.1)


@functools.cache
def outputs_of(name, history="exposures"):
    """What the model answers, which several tests read."""
    model = model_of(name, history)
    return tiny.predict(model, tiny.inputs(model.schema))


@pytest.mark.parametrize(
    ("name", "history"),
    [
        *tiny.marked(BUILD, "exposures", on_both=PARTS),
        *tiny.marked(BUILD, "mixed", on_both=PARTS),
        # Without histories there are fewer of the same parts.
        *tiny.marked([name for name in BUILD if name not in NEED_HISTORY], "none"),
    ],
)
def test_outputs_are_one_probability_a_task(name, history):
    model = model_of(name, history)
    outputs = outputs_of(name, history)
    assert sorted(outputs) == sorted(model.schema.task_names)
    for task, p in outputs.items():
        assert p.shape == (6, 1) and p.dtype == "float32"
        assert model.output[task].shape == (None, 1)
        assert ((p > 0) & (p < 1)).all()


@pytest.mark.parametrize("name", NEED_HISTORY)
def test_a_schema_without_history_is_an_error_that_names_models_that_do_without(name):
    with pytest.raises(ValueError, match=f"{name}: the schema has no history.*SharedBottom"):
        MODELS[name](tiny.schema("none"))


@pytest.mark.parametrize("name", NAMES)
def test_training_computes_what_inference_does(name):
    model = model_of(name, "mixed")
    for task, p in tiny.train_outputs(model, tiny.inputs(model.schema)).items():
        np.testing.assert_allclose(p, outputs_of(name, "mixed")[task], atol=1e-5)


# One mechanism makes members of every model.
@pytest.mark.parametrize("name", tiny.marked(MODELS))
def test_members_are_averaged_and_reached_by_a_fit_step(name):
    keras.utils.set_random_seed(0)
    model = tiny.randomise(MODELS[name](tiny.schema("positives"), dim=8, members=2), scale=0.15)
    model.compile(keras.optimizers.Lion(0.1), weighted_metrics=[], **tiny.quick())
    x, (y, w) = tiny.inputs(model.schema, batch=16), tiny.labels(model.schema, batch=16)
    members, means = tiny.train_outputs(model, x), tiny.predict(model, x)
    for task, p in means.items():
        np.testing.assert_allclose(p, np.mean(members[task], 1), atol=1e-5)
        assert members[task].shape == (16, 2, 1)
    before = model.get_weights()
    model.fit(x, y, sample_weight=w, batch_size=16, verbose=0)
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert [w.path for w, c in zip(model.weights, changed, strict=True) if not c] == []
    assert len({w.path for w in model.weights}) == len(model.weights)


@pytest.mark.parametrize("name", NAMES)
def test_keras_file_round_trip(name, tmp_path):
    model = model_of(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.get_config() == model.get_config()
    assert loaded.schema == model.schema
    assert [w.path for w in loaded.weights] == [w.path for w in model.weights]
    outputs = tiny.predict(loaded, tiny.inputs(model.schema))
    for task in model.schema.task_names:
        np.testing.assert_allclose(outputs[task], outputs_of(name)[task], atol=1e-6)


@pytest.mark.parametrize("name", ALONE)
def test_a_fit_step_reaches_every_weight(name):
    keras.utils.set_random_seed(0)
    model = tiny.randomise(BUILD[name](tiny.schema("positives"), dim=8), scale=0.15)
    # Lion goes by the sign of a gradient: a small one moves a weight as far as a large one.
    model.compile(keras.optimizers.Lion(0.1), weighted_metrics=[], **tiny.quick())
    x, (y, w) = tiny.inputs(model.schema, batch=16), tiny.labels(model.schema, batch=16)
    before = model.get_weights()
    model.fit(x, y, sample_weight=w, batch_size=16, verbose=0)
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert [w.path for w, c in zip(model.weights, changed, strict=True) if not c] == []


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("INFNet", "mixed_float16"),
        *tiny.marked(["options"], "mixed_float16"),
        # The layers have a test of their own on either backend.
        *tiny.marked([name for name in BUILD if name != "options"], "mixed_bfloat16"),
    ],
)
def test_mixed_precision_trains_and_its_outputs_are_float32(name, dtype):
    keras.utils.set_random_seed(0)
    model = BUILD[name](tiny.schema(), dim=8, dtype=dtype)
    model.compile("sgd", **tiny.quick())
    x, (y, w) = tiny.inputs(model.schema), tiny.labels(model.schema)
    history = model.fit(x, y, sample_weight=w, batch_size=6, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert {w.dtype for w in model.trainable_weights} == {"float32"}
    for p in model.predict_on_batch(x).values():
        assert p.dtype == "float32" and np.isfinite(p).all()
    assert type(model).from_config(model.get_config()).dtype_policy.name == dtype


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_defaults_in_the_docstring_are_those_of_the_signature(model):
    assert_defaults_are_documented(model)
