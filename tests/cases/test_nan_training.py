import re

import keras
import numpy as np
import pandas as pd
import pytest

import keras_infnet as ki
from keras_infnet.callbacks import Checkpoints, DivergenceCheck
from keras_infnet.search import ProxySearch, SearchSpace
from keras_infnet.serving import export, export_onnx
from tests import tiny
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows

ROWS = 400
RNG = np.random.default_rng(0)
LOG = pd.DataFrame(
    {
        "user_id": RNG.integers(0, 9, ROWS),
        "video_id": RNG.integers(0, 12, ROWS),
        "time_ms": 1_767_225_600_000 + np.arange(ROWS) * 1000,
        "click": RNG.integers(0, 2, ROWS),
        "like": RNG.integers(0, 2, ROWS),
    }
)
HUGE = 1e30


@pytest.fixture(scope="module")
def data():
    schema = ki.FeatureSchema(
        [ki.CategoricalFeature("video_id", "item")],
        [ki.BinaryTask("click"), ki.BinaryTask("like")],
        [ki.History("seen", ("video_id",), max_length=4)],
    )
    return ki.RankingData(schema, LOG, validation=int(LOG.time_ms[320]), batch_size=16)


def model_of(data):
    keras.utils.set_random_seed(0)
    return ki.INFNet(data.schema, dim=4, head_dim=4)


def spoilt(data):
    """A model with one weight that is NaN."""
    model = model_of(data)
    last = model.trainable_variables[-1]
    last.assign(np.full(last.shape, np.nan))
    return model


def test_training_stops_with_step_tasks_and_advice_and_good_checkpoints_stay(data, tmp_path):
    # A first training, whose checkpoints are good.
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([8], [1e-3, HUGE])
    )
    with pytest.raises(FloatingPointError) as error:
        ki.fit_ranker(
            model_of(data),
            data,
            optimizer=optimizer,
            verbose=0,
            callbacks=[Checkpoints(tmp_path, every=4)],
        )
    assert "diverged" in str(error.value) or "Checkpoints: `" in str(error.value)
    for path in tmp_path.glob("step-*"):
        with np.load(path / "variables.npz") as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays)
    assert {"step-0000000004", "step-0000000008"} <= {p.name for p in tmp_path.glob("step-*")}


@pytest.mark.parametrize("verbose", [0, 2])
def test_fit_of_a_model_stops_too(data, verbose, capsys):
    model = model_of(data)
    model.compile(keras.optimizers.SGD(HUGE), **tiny.quick())
    with pytest.raises(FloatingPointError) as error:
        model.fit(data.train, verbose=verbose, shuffle=False)
    for words in (
        r"the loss is (nan|inf) in step [2-9] \(epoch 1, batch [2-9] of it\)",
        r"Not finite: the loss of .*(click|like) \((nan|inf)\)",
        r"\d+ of \d+ weights hold NaN or infinity, such as `",
        r"learning rate \(it is 1e\+30\).*clipnorm.*dense columns",
    ):
        assert re.search(words, str(error.value))


def test_a_model_of_keras_takes_the_callback():
    model = tiny_ranker()
    model.compile(keras.optimizers.SGD(HUGE))
    weights = [np.full(w.shape, np.nan, w.dtype) for w in model.get_weights()]
    model.set_weights(weights)
    data = batches_of(tiny_rows(60))
    with pytest.raises(FloatingPointError, match=r"the loss is nan in step 1 \(epoch 1, batch 1"):
        model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[DivergenceCheck()])
    with pytest.raises(FloatingPointError, match=r"the loss is nan in step 1 "):
        ki.fit_ranker(model, data, verbose=0)


def test_a_validation_that_is_no_number_is_an_error(data):
    class Spoils(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            for variable in self.model.trainable_variables:
                variable.assign(np.full(variable.shape, np.nan))

    model = model_of(data)
    model.compile("adam", **tiny.quick())
    with pytest.raises(FloatingPointError, match="the loss of the validation is nan after epoch 1"):
        model.fit(
            data.train,
            validation_data=data.validation,
            verbose=0,
            shuffle=False,
            callbacks=[Spoils()],
        )


def test_the_value_of_nan_predictions_is_never_zero(data):
    model = spoilt(data)
    model.compile("adam", **tiny.quick())
    found = model.evaluate(data.validation, verbose=0, return_dict=True)
    assert np.isnan(found["like_auc"]) and np.isfinite(found["click_auc"])
    assert ki.training.TaskPolicy().score({f"val_{k}": v for k, v in found.items()}) == -np.inf
    with pytest.raises(ValueError, match="predictions of .* rows are NaN .*`like` in row 320"):
        data.evaluate(model, "validation")


@pytest.mark.one_backend
def test_no_export_of_weights_that_are_nan(data, tmp_path):
    words = "1 of .* weights hold NaN or infinity, such as `.*head.*earlier checkpoint"
    with pytest.raises(ValueError, match=f"export: {words}"):
        export(spoilt(data), data, tmp_path / "ranker")
    with pytest.raises(ValueError, match=f"export_onnx: {words}"):
        export_onnx(spoilt(data), data, tmp_path / "ranker.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.one_backend
def test_a_trial_that_diverges_is_a_failed_trial(data, tmp_path):
    one = {name: values[:1] for name, values in SearchSpace().items()}
    space = SearchSpace(**{**one, "dim": (4,), "learning_rate": (HUGE,)})
    folder = tmp_path / "search"
    search = ProxySearch(data.schema, data.train, data.validation, folder, space=space)
    (trial,) = search.run(1, verbose=0).to_dict("records")
    assert trial["status"] == "failed" and "Training has diverged" in trial["error"]
