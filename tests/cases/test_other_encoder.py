import keras
import numpy as np
import pytest

import keras_infnet
from keras_infnet.data import Batches, FeatureEncoder
from keras_infnet.models import FM
from tests import tiny
from tests.cases import small_log


@pytest.fixture(scope="module")
def setting():
    log, schema = small_log.log(), small_log.schema("click", feature="video_id")
    old, new = (
        FeatureEncoder(schema).fit(log[log["video_id"] < 20]),
        FeatureEncoder(schema).fit(log),
    )
    model = FM(old.schema, dim=4)
    model.compile("adam", **tiny.quick())
    return model, old, new, log


def test_batches_of_another_encoder_are_refused(setting):
    model, old, new, log = setting
    batches = Batches.from_rows(new, log, batch_size=100)
    message = "of another encoder than the model .*`video_id` 41 rows, here 21"
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=f"FM.{method.__name__}: .*{message}"):
            method(batches, verbose=0)
    with pytest.raises(ValueError, match=f"FM.fit, validation_data: .*{message}"):
        model.fit(Batches.from_rows(old, log[:100]), validation_data=batches, verbose=0)
    with pytest.raises(ValueError, match=message):
        keras_infnet.fit_ranker(FM(old.schema, dim=4), batches, verbose=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.map(lambda *batch: batch),
        lambda data: data.take(2).skip(1),
        lambda data: data.repeat(2).prefetch(1),
        lambda data: data.starting_at(1).take(2),
        lambda data: data.take(1).concatenate(data),
        lambda data: data.shuffle(3),
    ],
)
def test_what_comes_of_batches_says_whose_they_are(setting, change):
    model, old, new, log = setting
    with pytest.raises(ValueError, match="another encoder"):
        model.fit(change(Batches.from_rows(new, log, batch_size=100)), verbose=0)
    model.evaluate(change(Batches.from_rows(old, log, batch_size=100)), verbose=0)


def test_the_same_sizes_with_other_values_are_refused(setting):
    model, _, _, log = setting
    shifted = log.assign(video_id=log["video_id"] + 100)
    other = FeatureEncoder(model.schema.with_layout(None)).fit(shifted[shifted["video_id"] < 120])
    assert other.schema.table_rows() == model.schema.table_rows()
    with pytest.raises(ValueError, match="another encoder"):
        model.predict(Batches.from_rows(other, shifted, labels=False), verbose=0)


def test_ids_beyond_the_table_are_refused(setting):
    model, old, new, log = setting
    x, y = new.transform(log), {"click": log[["click"]].to_numpy("float32")}
    message = "input `categorical` holds id 40 of feature `video_id`; expected 0 to 20"
    for call in (
        lambda: model.fit(x, y, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.predict(x, verbose=0),
        lambda: model.fit(old.transform(log), y, validation_data=(x, y), verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="holds id -1"):
        model.predict({"categorical": np.array([[-1]], "int32")}, verbose=0)


def test_other_tasks_of_the_same_encoder_are_allowed(setting):
    _, old, _, log = setting
    other = keras_infnet.FeatureSchema(
        old.schema.features,
        [keras_infnet.BinaryTask("like"), keras_infnet.BinaryTask("click")],
        time_key=None,
        layout=old.schema.layout,
    )
    model = FM(other, dim=4)
    model.compile(keras.optimizers.SGD(), **tiny.quick())
    model.predict(Batches.from_rows(old, log, labels=False), verbose=0)


def test_callbacks_and_searches_refuse_them_at_once(setting, tmp_path):
    model, old, new, log = setting
    own, other = (Batches.from_rows(encoder, log, batch_size=100) for encoder in (old, new))
    callback = keras_infnet.callbacks.GroupAUCCallback(other, log["user_id"])
    with pytest.raises(ValueError, match="GroupAUCCallback: the batches are of another encoder"):
        model.fit(own, callbacks=[callback], shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="ProxySearch, validation: the batches are of another"):
        keras_infnet.search.ProxySearch(old.schema, own, other, tmp_path / "search")
    data = keras_infnet.RankingData(new, log)
    for method in (data.predict, data.evaluate, data.calibrate):
        with pytest.raises(ValueError, match="of another schema than the encoder"):
            method(model, "train")
    with pytest.raises(ValueError, match="explain: the model is of another schema"):
        keras_infnet.explain.explain(model, new, log)
