import json
import os
import subprocess
import sys

import keras_rs
import numpy as np
import pytest

from keras_infnet.layers import CrossLayer
from tests import tiny
from tests.reference import interactions
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
X0, X = RNG.normal(size=(2, 4, 6)).astype("float32")
RANKS = {"full": None, "low_rank": 2}
# TensorFlow Recommenders needs Keras 2 as `tf.keras`, which is chosen before the first import.
TFRS = """
import json, sys
import numpy as np
import tensorflow_recommenders as tfrs

given, outputs = np.load(sys.argv[1]), {}
for name, rank in json.loads(sys.argv[3]).items():
    layer = tfrs.layers.dcn.Cross(projection_dim=rank)
    layer(given["x0"], given["x"])
    layer.set_weights([given[f"{name}_{i}"] for i in range(len(layer.weights))])
    outputs[name] = layer(given["x0"], given["x"]).numpy()
np.savez(sys.argv[2], **outputs)
"""


def built(rank):
    return tiny.randomise_after(CrossLayer(RANKS[rank]), X0, X)


@pytest.fixture(scope="module")
def of_tensorflow_recommenders(tmp_path_factory):
    """Outputs by rank of its layer with our weights, from a process of its own."""
    given, outputs = (tmp_path_factory.mktemp("cross") / f"{n}.npz" for n in ("given", "outputs"))
    weights = {f"{r}_{i}": w for r in RANKS for i, w in enumerate(built(r).get_weights())}
    np.savez(given, x0=X0, x=X, **weights)
    command = [sys.executable, "-c", TFRS, given, outputs, json.dumps(RANKS)]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "KERAS_BACKEND": "tensorflow"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr[-3000:]
    with np.load(outputs) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("rank", RANKS)
def test_output_equals_the_formula(rank):
    layer = built(rank)
    weights = Weights.of(layer)
    weights.prefix = f"{layer.name}/"
    np.testing.assert_allclose(layer(X0, X), interactions.cross(weights, X0, X), atol=1e-5)


@pytest.mark.parametrize("rank", RANKS)
def test_output_equals_that_of_keras_rs(rank):
    layer, other = built(rank), keras_rs.layers.FeatureCross(RANKS[rank])
    other(X0, X)
    other.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(X0, X), other(X0, X), atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("rank", RANKS)
def test_output_equals_that_of_tensorflow_recommenders(rank, of_tensorflow_recommenders):
    np.testing.assert_allclose(built(rank)(X0, X), of_tensorflow_recommenders[rank], atol=1e-6)


def test_a_rank_of_zero_is_an_error():
    with pytest.raises(ValueError, match="or None for a full matrix.*projection_dim=0"):
        CrossLayer(projection_dim=0)


def test_inputs_of_two_widths_are_an_error():
    with pytest.raises(ValueError, match="`x0` is 6 wide, `x` 5; expected equal widths"):
        CrossLayer()(X0, X[:, :5])
