import keras
import numpy as np

from keras_infnet import models
from keras_infnet.data import Batches, FeatureEncoder
from tests.cases import small_log


def test_a_file_keeps_frozen_layers_and_the_optimizer(tmp_path):
    log = small_log.log()
    encoder = FeatureEncoder(small_log.schema()).fit(log)
    batches = Batches.from_rows(encoder, log)
    model = models.SharedBottom(encoder.schema, dim=4)
    model.get_layer("fused_embedding").trainable = False
    model.compile("adam")
    model.fit(batches, verbose=0, shuffle=False)
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    assert not loaded.get_layer("fused_embedding").trainable
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 3
    for saved, found in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.array(saved), np.array(found))
    table = np.array(loaded.get_layer("fused_embedding").embeddings)
    for each in (model, loaded):
        each.fit(batches, verbose=0, shuffle=False)
    np.testing.assert_array_equal(table, loaded.get_layer("fused_embedding").embeddings)
    for saved, found in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(np.array(saved), np.array(found), rtol=1e-6, atol=1e-7)
