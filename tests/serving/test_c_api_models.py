"""Every model, INFNet from either backend, answers through TensorFlow's C API as in Keras."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.data import FeatureEncoder, frame_to_request
from keras_infnet.models import MODELS
from keras_infnet.serving.c_api import CApiProcess
from tests.house.source import ROOT
from tests.logs import funnel_log, log_schema
from tests.serving.conftest import tiny
from tests.serving.graphs import save_graphs

FORMS = {"INFNet": INFNet, "paper_v1": INFNet.paper_v1, "paper_v2": INFNet.paper_v2}
if keras.backend.backend() == "tensorflow":
    FORMS |= {name: form for name, form in MODELS.items() if name != "INFNet"}


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema(entire_space=True)).fit(funnel_log())


@pytest.fixture(scope="module")
def models(encoder):
    return {name: tiny(encoder, form) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def process(models, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    if keras.backend.backend() == "tensorflow":
        save_graphs(models, encoder, folder / "graphs")
    else:
        encoder.save(folder / "encoder")
        for name, model in models.items():
            model.save(folder / f"{name}.keras")
        command = [sys.executable, "-m", "tests.serving.graphs", str(folder), *models]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    with CApiProcess(folder / "graphs", 1, 1) as process:
        yield process


@pytest.mark.parametrize("name", FORMS)
def test_the_c_api_answers_as_keras(models, process, encoder, attached, name):
    rows = attached.iloc[:40]
    found, _ = process.run(name, frame_to_request(encoder.schema, rows))
    expected = models[name](encoder.transform(rows), training=False)
    for task in ("click", "like"):
        values = keras.ops.convert_to_numpy(expected[task])
        np.testing.assert_allclose(found[task], values, atol=1e-5)
        assert np.std(values) > 1e-3
