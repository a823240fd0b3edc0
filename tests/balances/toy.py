"""A small network of three tasks, and batches whose gradients conflict."""

import keras
import numpy as np

from keras_infnet import models
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.schema import FeatureSchema
from tests import tiny

STEPS, ROWS, LOSS_WEIGHTS = 6, 16, {"a": 1.0, "b": 2.0, "c": 0.5}


@keras.saving.register_keras_serializable(package="tests")
class OneLayer(models.RankingModel):
    """`y_k = sigmoid(v_k relu(U_k h + u_k) + c_k)` with `h = [E[id]; P d + p] W`."""

    @staticmethod
    def network(tokens, config):
        h = keras.layers.Dense(3, use_bias=False, name="shared")(tokens.flat())
        return dict.fromkeys(tokens.task_names, h)


def schema():
    features = [CategoricalFeature("id", "item"), DenseFeature("d", "item", dim=3)]
    tasks = [BinaryTask(name, loss_weight=w) for name, w in LOSS_WEIGHTS.items()]
    return FeatureSchema(features, tasks).with_sizes({"id": 5})


def made(members=1, dtype=None, **compiled):
    """The model, compiled, with weights as large as its inputs."""
    keras.utils.set_random_seed(3)
    model = OneLayer(
        schema(), dim=2, head_dim=4, embedding_stddev=0.7, members=members, dtype=dtype
    )
    model.compile(**{"weighted_metrics": [], **tiny.quick(), **compiled})
    return model


def batches():
    """Inputs, labels and weights of rows for each step; gradients of `a` and `c` conflict."""
    rng = np.random.default_rng(0)
    x = {
        "categorical": rng.integers(0, 5, (STEPS, ROWS, 1)).astype("int32"),
        "dense": rng.normal(size=(STEPS, ROWS, 3)).astype("float32"),
    }
    y = {t: rng.integers(0, 2, (STEPS, ROWS, 1)).astype("float32") for t in LOSS_WEIGHTS}
    y["c"] = 1 - y["a"]
    weights = {t: rng.integers(0, 2, (STEPS, ROWS, 1)).astype("float32") for t in LOSS_WEIGHTS}
    return [
        tuple({n: v[step] for n, v in part.items()} for part in (x, y, weights))
        for step in range(STEPS)
    ]
