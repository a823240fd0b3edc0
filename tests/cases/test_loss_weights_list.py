import pytest

from keras_infnet import models
from keras_infnet.data import Batches, FeatureEncoder
from tests import tiny
from tests.cases import small_log


@pytest.fixture
def model():
    encoder = FeatureEncoder(small_log.schema()).fit(small_log.log())
    return models.FM(encoder.schema, dim=4), Batches.from_rows(encoder, small_log.log())


@pytest.mark.parametrize("argument", ["loss", "loss_weights", "metrics", "weighted_metrics"])
def test_a_list_is_refused(model, argument):
    message = f'`{argument}` is a list.*{argument}={{"like": ..., "click": ...}}'
    with pytest.raises(ValueError, match=message):
        model[0].compile("adam", **{argument: [1.0, 0.0]})


def test_a_dict_goes_by_the_name_of_the_task(model):
    model, batches = model
    model.compile("adam", loss_weights={"like": 1.0, "click": 0.0}, **tiny.quick())
    found = model.evaluate(batches, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["like_loss"])
    assert found["loss"] != pytest.approx(found["click_loss"])
