import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import roc_auc_score

from keras_infnet._base.within_step import within_step
from keras_infnet.metrics import AUC, ExpectedCalibrationError, GroupAUC, NormalizedEntropy

RNG = np.random.default_rng(0)


def value(labels, scores, weights=None, batch=2048):
    metric = AUC()
    for i in range(0, len(labels), batch):
        part = None if weights is None else weights[i : i + batch, None]
        metric.update_state(labels[i : i + batch, None], scores[i : i + batch, None], part)
    return float(metric.result())


@pytest.mark.parametrize("rate", [0.5, 0.02, 0.0005])
def test_equals_scikit_learn_whatever_the_rate(rate):
    logits = np.log(rate / (1 - rate)) + RNG.normal(size=100_000)
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    labels = (RNG.random(len(scores)) < scores).astype("float32")
    weights = RNG.integers(0, 3, len(scores)).astype("float32")
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert value(labels, scores, weights) == pytest.approx(expected, abs=2e-6)


def test_the_error_is_within_its_bound_where_scores_stand_close():
    scores = (0.3 * (1 + 1e-3 * RNG.normal(size=4000))).astype("float32")
    labels = (RNG.random(4000) < 0.5).astype("float32")
    # Cells of 2^-14 of a quarter, for scores from 0.25 to 0.5.
    cells = np.floor(scores.astype("float64") * 4 * 2**14).astype(int)
    positives, negatives = np.bincount(cells, labels), np.bincount(cells, 1 - labels)
    bound = (positives * negatives).sum() / (2 * positives.sum() * negatives.sum())
    assert 0 < abs(value(labels, scores) - roc_auc_score(labels, scores)) <= bound < 0.05


def test_the_ends_of_the_range_keep_their_order():
    scores = np.array([0, 1e-11, 1e-6, 0.25, 0.5, 0.75, 1 - 2**-23, 1 - 2**-24, 1], "float32")
    for cut in range(1, len(scores)):
        assert value(np.arange(len(scores)) >= cut, scores) == 1
    assert value(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5


def test_one_class_is_nan_and_so_is_a_prediction_that_is_nan():
    assert np.isnan(value(np.ones(4), np.full(4, 0.5)))
    labels, scores = np.array([0, 1, 1, 0]), np.array([0.2, np.nan, 0.7, 0.1])
    assert np.isnan(value(labels, scores))
    assert value(labels, scores, np.array([1, 0, 1, 1])) == 1


@pytest.mark.parametrize("made", [AUC, GroupAUC, ExpectedCalibrationError, NormalizedEntropy])
def test_no_streaming_metric_hides_a_prediction_that_is_nan(made):
    metric = made()
    groups = {"groups": np.array([1, 1, 2, 2])} if made is GroupAUC else {}
    metric.update_state([0, 1, 1, 0], [0.2, 0.4, 0.7, 0.1], **groups)
    assert np.isfinite(float(metric.result()))
    metric.update_state([0, 1, 1, 0], [0.2, 0.4, np.nan, 0.1], **groups)
    assert np.isnan(float(metric.result()))


def test_a_training_step_counts_in_the_shown_cells_alone():
    metric = AUC()
    labels, scores = np.array([0, 1, 1, 0]), np.array([0.2, 0.4, 0.3, 0.1])
    with within_step("train"):
        metric.update_state(labels, scores)
        assert float(metric.result()) == 1
    assert not ops.any(ops.convert_to_tensor(metric.cells))
    assert float(metric.result()) == 1
    metric.reset_state()
    # Shown cells are as wide as a 32nd of a doubling.
    close = np.array([0.3, 0.3001, 0.3001, 0.3])
    with within_step("test"):
        metric.update_state(labels, close)
        assert float(metric.result()) == 0.5
    assert float(metric.result()) == 1


def test_a_model_of_keras_shows_the_value_of_its_predictions():
    x = RNG.normal(size=(500, 3)).astype("float32")
    y = (RNG.random((500, 1)) < 0.05).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(loss="binary_crossentropy", weighted_metrics=[AUC()])
    model.fit(x, y, verbose=0)
    found = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)["auc"]
    assert found == pytest.approx(roc_auc_score(y, model.predict(x, verbose=0)), abs=1e-4)


def test_the_config_makes_the_metric_again():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(AUC()))
    assert isinstance(again, AUC) and again.name == "auc"
