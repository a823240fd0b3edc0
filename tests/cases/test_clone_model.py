import keras
import numpy as np
import pytest

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


class OfSize(FM):
    def __init__(self, schema, size=4, **kwargs):
        super().__init__(schema, dim=size, **kwargs)


class Handing(FM):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def test_a_class_whose_init_takes_no_clone_is_refused(encoder):
    with pytest.raises(ValueError, match="`OfSize` has an `__init__` of its own.*`OfSize.Config`"):
        keras.models.clone_model(OfSize(encoder.schema))
    assert type(keras.models.clone_model(Handing(encoder.schema, dim=4))) is Handing


def test_a_model_of_inputs_and_outputs_is_refused(encoder):
    x = keras.Input((1,), name="categorical")
    with pytest.raises(ValueError, match="expected a schema.*subclass with its `network`"):
        RankingModel(encoder.schema, {"categorical": x}, {"click": x}, {})
