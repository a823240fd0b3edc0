"""Exports of a user's own head and own vectors."""

import sys

import keras
import numpy as np
import pytest

import keras_infnet
from keras_infnet.models import FM, RankingModel
from keras_infnet.optimizers import LazyAdamW
from keras_infnet.serving import under_tensorflow
from tests import tiny
from tests.logs import viewed_videos

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow has no child")
MODULE = """
import keras
from keras_infnet.models import RankingModel

@keras.saving.register_keras_serializable("own_head")
class Linear(RankingModel):
    @staticmethod
    def network(tokens, config):
        return dict.fromkeys(tokens.task_names, tokens.flat())
"""


@pytest.fixture(scope="module")
def data():
    return viewed_videos()


@pytest.fixture
def linear(tmp_path, monkeypatch):
    (tmp_path / "own_head.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import own_head

    yield own_head.Linear
    del sys.modules["own_head"]


# On JAX each export is a child process: one tells enough.
@pytest.mark.parametrize(
    "table_dtype", [pytest.param("float32", marks=pytest.mark.one_backend), "int8"]
)
def test_an_own_head_with_frozen_vectors_is_exported(data, linear, tmp_path, table_dtype):
    """Weight decay has moved the rows below the frozen ones, which the graph does not have."""
    model = linear(data.schema, dim=4)
    vectors = {v: np.random.default_rng(v).normal(size=4) for v in range(1, 20)}
    model.set_embeddings("video_id", vectors, data)
    model.compile(LazyAdamW(0.1, weight_decay=0.5, row_updates_from=0), **tiny.quick())
    model.fit(data.train, shuffle=False, verbose=0)
    # It compares the answers with those of the Keras model.
    path = keras_infnet.serving.export(model, data, tmp_path / "ranker", table_dtype=table_dtype)
    assert path.name == "1"


@on_jax
def test_a_class_that_the_child_can_not_import_is_named(data, tmp_path):
    class Local(RankingModel):
        @staticmethod
        def network(tokens, config):
            return dict.fromkeys(tokens.task_names, tokens.flat())

    message = "`Local` is defined in `tests.serving.test_own_parts`.*a module of its own"
    with pytest.raises(ValueError, match=message):
        keras_infnet.serving.export(Local(data.schema, dim=4), data, tmp_path / "ranker")


def fails(model, encoder, path):
    raise ValueError("no such\n  thing")


@on_jax
def test_the_error_of_the_child_is_one_line(data, tmp_path):
    with pytest.raises(OSError, match="reloads `FM`.*: ValueError: no such thing\nTo see it whole"):
        under_tensorflow.write_under_tensorflow(
            fails, FM(data.schema, dim=4), data.encoder, tmp_path / "model"
        )
