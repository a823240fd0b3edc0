import keras
import numpy as np
import pytest

import keras_infnet
from keras_infnet.data import Batches, FeatureEncoder
from tests.cases import small_log


@pytest.mark.parametrize("reloaded", [False, True])
def test_fit_goes_on_at_the_first_rate(tmp_path, reloaded):
    log = small_log.log()
    encoder = FeatureEncoder(small_log.schema("click")).fit(log)
    first, second = (Batches.from_rows(encoder, part, batch_size=100) for part in (log[:300], log))
    model = keras_infnet.models.FM(encoder.schema, dim=4)
    keras_infnet.fit_ranker(model, first, learning_rate=0.01, verbose=0)
    if reloaded:
        model.save(tmp_path / "day1.keras")
        model = keras.saving.load_model(tmp_path / "day1.keras")
    assert int(model.optimizer.iterations) == 3
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01)
    before = [np.array(v) for v in model.trainable_variables]
    model.fit(second, shuffle=False, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, np.array(new)), new.path
