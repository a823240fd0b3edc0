import keras
import numpy as np
import pytest

from keras_infnet._keras_internals import layers_inside
from keras_infnet.data import FeatureEncoder
from keras_infnet.models import FM, RankingModel
from tests import tiny
from tests.cases import small_log


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(small_log.schema()).fit(small_log.log())


@pytest.mark.parametrize("compiled", [False, True])
def test_the_clone_is_the_same_model_with_new_weights(encoder, compiled):
    model = FM(encoder.schema, dim=4, members=2, dtype="float32")
    model.get_layer("member_1").trainable = False
    if compiled:
        model.compile("adam", loss_weights={"like": 3.0}, **tiny.quick())
    clone = keras.models.clone_model(model)
    assert type(clone) is FM and clone.compiled == compiled
    assert clone.schema == model.schema and clone.config == model.config
    assert not clone.get_layer("member_1").trainable
    clone.set_weights(model.get_weights())
    x = encoder.transform(small_log.log(40))
    outputs, expected = tiny.predict(clone, x), tiny.predict(model, x)
    for task in model.schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-6)
    if compiled:
        y = {task: np.ones((40, 1)) for task in model.schema.task_names}
        logs = [m.train_on_batch(x, y, return_dict=True)["loss"] for m in (model, clone)]
        assert logs[0] == pytest.approx(logs[1])


def test_quantized_models_predict_alike_and_are_loaded(encoder, tmp_path):
    schema = tiny.schema("exposures")
    model, x = FM(schema, dim=8), tiny.inputs(schema, batch=32)
    tiny.randomise(model, scale=0.2)
    before = tiny.predict(model, x)
    with pytest.warns(UserWarning, match="quantize"):
        model.quantize("int8")
    model.compile(**tiny.quick())
    after = model.predict_on_batch(x)
    model.save(tmp_path / "int8.keras")
    loaded = keras.saving.load_model(tmp_path / "int8.keras", compile=False)
    modes = [getattr(x, "quantization_mode", None) for x in layers_inside(loaded)]
    assert modes.count("int8") >= 3
    found = tiny.predict(loaded, x)
    for task in schema.task_names:
        np.testing.assert_allclose(after[task], before[task], atol=0.02)
        np.testing.assert_allclose(found[task], after[task], rtol=1e-5)


def test_a_model_of_inputs_and_outputs_is_refused(encoder):
    x = keras.Input((1,), name="categorical")
    with pytest.raises(ValueError, match="expected a schema.*subclass with its `network`"):
        RankingModel(encoder.schema, {"categorical": x}, {"click": x}, {})
