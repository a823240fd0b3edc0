"""Every model answers through TensorFlow's C API as in Keras.

`test_saved_model.py` asks for the answers of a model that JAX has trained.
"""

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.data import FeatureEncoder, frame_to_request
from keras_infnet.models import MODELS
from keras_infnet.serving import run_c_api
from tests.logs import funnel_log, log_schema
from tests.serving.conftest import tiny

pytestmark = pytest.mark.one_backend
FORMS = {**MODELS, "paper_v1": INFNet.paper_v1, "paper_v2": INFNet.paper_v2}


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema(entire_space=True)).fit(funnel_log())


@pytest.fixture(scope="module")
def models(encoder):
    return {name: tiny(encoder, form) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def rows(attached):
    return attached.iloc[:40]


@pytest.fixture(scope="module")
def inputs(encoder, rows):
    return encoder.transform(rows)


@pytest.fixture(scope="module")
def answers(models, encoder, rows, tmp_path_factory):
    """Those of all models, which are one graph behind one encoder."""
    import tensorflow as tf

    module, path = tf.Module(), str(tmp_path_factory.mktemp("models") / "graphs")
    module.encoder = encoder.to_tensorflow()
    module.variables_of_all = [v.value for model in models.values() for v in model.variables]

    def serve(**raw):
        encoded = module.encoder(raw)
        outputs = {name: model(encoded, training=False) for name, model in models.items()}
        return {f"{name}_{task}": p for name in outputs for task, p in outputs[name].items()}

    specs = {
        name: tf.TensorSpec((None, *shape), dtype, name=name)
        for name, (shape, dtype) in encoder.schema.raw_inputs().items()
    }
    signature = tf.function(serve, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, path, signatures={"all": signature})
    (found,), _ = run_c_api(path, "all", [frame_to_request(encoder.schema, rows)])
    return found


@pytest.mark.parametrize("name", FORMS)
def test_the_c_api_answers_as_keras(models, answers, inputs, name):
    expected = models[name](inputs, training=False)
    for task in ("click", "like"):
        values = keras.ops.convert_to_numpy(expected[task])
        np.testing.assert_allclose(answers[f"{name}_{task}"], values, atol=1e-5)
        assert np.std(values) > 1e-3
