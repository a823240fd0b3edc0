"""Models of 8 or 4 bits: their predictions, files, clones and exports."""

import gc

import keras
import numpy as np
import pytest

import keras_infnet
from keras_infnet._keras_internals import layers_inside
from keras_infnet.models import MODELS
from tests import tiny
from tests.logs import viewed_videos

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have a `quantize`:UserWarning")


@pytest.fixture(autouse=True)
def little_garbage():
    """Keras collects garbage for each layer that it quantises: not over what tests have left."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def data():
    return viewed_videos()


def quantized(data, name, mode, **config):
    """A model's inputs, its outputs before, and the quantised model."""
    model = tiny.randomise(MODELS[name](data.schema, dim=8), scale=0.15)
    x, _, _ = next(iter(data.train.as_numpy_iterator()))
    before = tiny.predict(model, x)
    model.quantize(mode, **config)
    model.compile(**tiny.quick())
    return x, before["click"], model


def check_reloaded(model, x, path):
    expected = tiny.predict(model, x)["click"]
    model.save(path)
    loaded = keras.saving.load_model(path, compile=False)
    assert [w.shape for w in loaded.weights] == [w.shape for w in model.weights]
    np.testing.assert_allclose(tiny.predict(loaded, x)["click"], expected, atol=1e-6)


@pytest.mark.parametrize("name", MODELS if keras.backend.backend() == "tensorflow" else ["INFNet"])
def test_every_model_of_8_bits_predicts_alike_and_is_loaded_and_exported(data, tmp_path, name):
    x, before, model = quantized(data, name, "int8")
    modes = [getattr(layer, "quantization_mode", None) for layer in layers_inside(model)]
    assert "int8" in modes
    np.testing.assert_allclose(tiny.predict(model, x)["click"], before, atol=0.05)
    check_reloaded(model, x, tmp_path / "model.keras")
    # It compares the answers with those of the Keras model.
    keras_infnet.serving.export(model, data, tmp_path / "ranker")


def test_a_file_keeps_how_4_bits_were_made(data, tmp_path):
    config = keras.quantizers.Int4QuantizationConfig(block_size=4)
    x, before, model = quantized(data, "SharedBottom", None, config=config)
    np.testing.assert_allclose(tiny.predict(model, x)["click"], before, atol=0.3)
    check_reloaded(model, x, tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    expected = tiny.predict(model, x)["click"]
    np.testing.assert_allclose(tiny.predict(clone, x)["click"], expected, atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("mode", ["float8", "gptq", "awq", "int3", None])
def test_other_modes_are_refused_by_what_is_offered(data, mode):
    model = MODELS["FM"](data.schema, dim=4)
    with pytest.raises(ValueError, match=f"FM.quantize: .*{mode}.*offered are 'int8' and 'int4'"):
        model.quantize(mode)
