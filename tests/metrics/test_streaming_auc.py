import copy

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import roc_auc_score

import keras_infnet
from keras_infnet._base.within_step import within_step
from keras_infnet.metrics import AUC, ExpectedCalibrationError, GroupAUC, NormalizedEntropy
from keras_infnet.metrics.auc import EVALUATION_ROWS
from tests.training.row_ranker import row_ranker

RNG = np.random.default_rng(0)
# Half a unit in the last place of a float32 below 1.
EXACT = 2**-24


def value(labels, scores, weights=None, batch=2048):
    metric = AUC()
    for i in range(0, len(labels), batch):
        part = None if weights is None else weights[i : i + batch, None]
        metric.update_state(labels[i : i + batch, None], scores[i : i + batch, None], part)
    return float(metric.result())


@pytest.mark.parametrize("rate", [0.5, 0.02, 0.0005])
def test_equals_scikit_learn_whatever_the_rate(rate):
    logits = np.log(rate / (1 - rate)) + RNG.normal(size=20_000)
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    labels = (RNG.random(len(scores)) < scores).astype("float32")
    weights = RNG.integers(0, 3, len(scores)).astype("float32")
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert value(labels, scores, weights) == pytest.approx(expected, abs=EXACT)


def test_scores_that_differ_in_their_last_bits_are_no_ties():
    bits = RNG.integers(0, 8, 3000).astype("int32")
    scores = (np.float32(0.3).view("int32") + bits).view("float32")
    labels = (RNG.random(3000) < 0.1 + bits / 20).astype("float32")
    expected = roc_auc_score(labels, bits)
    assert expected > 0.6
    assert value(labels, scores, batch=700) == pytest.approx(expected, abs=EXACT)


def test_the_error_within_steps_is_within_its_bound():
    scores = (0.3 * (1 + 0.1 * RNG.normal(size=4000))).astype("float32").clip(0.2501, 0.4999)
    labels = (RNG.random(4000) < scores).astype("float32")
    # Cells of 2^-5 of a quarter, for scores from 0.25 to 0.5.
    cells = np.floor(scores.astype("float64") * 4 * 2**5).astype(int)
    positives, negatives = np.bincount(cells, labels), np.bincount(cells, 1 - labels)
    bound = (positives * negatives).sum() / (2 * positives.sum() * negatives.sum())
    metric = AUC()
    with within_step("train"):
        metric.update_state(labels, scores)
    assert 0 < abs(float(metric.result()) - roc_auc_score(labels, scores)) <= bound < 0.05


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


CLOSE = [0, 1, 1, 0], [0.3, 0.3001, 0.3001, 0.3]


class StepsOfUser(keras.Model):
    def train_step(self, metric):
        metric.update_state(*CLOSE)

    def test_step(self, metric):
        metric.update_state(*CLOSE)


class EvaluatesInTraining(StepsOfUser):
    def train_step(self, metric):
        self.test_step(metric)


def train_step(metric):
    metric.update_state(*CLOSE)


def test_training_collects_nothing():
    ours, others = AUC(), AUC()
    with within_step("train"):
        ours.update_state(*CLOSE)
    StepsOfUser().train_step(others)
    # The scores lie in one cell.
    assert float(ours.result()) == float(others.result()) == 0.5
    for metric in (ours, others):
        metric.reset_state()
        metric.update_state(*CLOSE)
        assert float(metric.result()) == 1


@pytest.mark.parametrize(
    "step", [train_step, StepsOfUser().test_step, EvaluatesInTraining().train_step]
)
def test_all_steps_but_those_that_train_a_model_of_keras_are_exact(step):
    metric = AUC()
    step(metric)
    assert float(metric.result()) == 1


def test_a_compiled_loop_of_the_users_own_is_exact():
    x = RNG.normal(size=(4, 50, 3)).astype("float32")
    # Scores that fall into few cells.
    y = (RNG.random((4, 50, 1)) < 0.4 + 0.02 * x[..., :1]).astype("float32")
    metric = AUC()

    def loss(w, x, y):
        p = ops.sigmoid(0.01 * x @ w)
        return ops.mean(keras.losses.binary_crossentropy(y, p)), p

    if keras.backend.backend() == "jax":
        import jax

        w, state = ops.ones((3, 1)), [ops.copy(v.value) for v in metric.variables]

        @jax.jit
        def train_step(w, state, x, y):
            gradient, p = jax.grad(loss, has_aux=True)(w, x, y)
            return w - gradient, metric.stateless_update_state(state, y, p), p

        seen = []
        for batch in zip(x, y, strict=True):
            w, state, p = train_step(w, state, *batch)
            seen.append(p)
        found = metric.stateless_result(state)
    else:
        import tensorflow as tf

        w = tf.Variable(tf.ones((3, 1)))

        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                mean, p = loss(w, x, y)
            w.assign_sub(tape.gradient(mean, w))
            metric.update_state(y, p)
            return p

        seen = [train_step(*batch) for batch in zip(x, y, strict=True)]
        found = metric.result()
    scores = np.concatenate([ops.convert_to_numpy(p) for p in seen])
    expected = roc_auc_score(y.ravel(), scores.ravel())
    assert float(found) == pytest.approx(expected, abs=EXACT)


def test_a_reset_forgets_all_rows_and_a_copy_has_its_own():
    metric = AUC()
    metric.update_state([0, 1], [0.9, 0.1])
    other = copy.deepcopy(metric)
    metric.reset_state()
    metric.update_state([0, 1], [0.1, 0.9])
    assert float(metric.result()) == 1 and float(metric.result()) == 1
    other.reset_state()
    other.update_state([0, 0, 1], [0.1, 0.9, 0.5])
    assert float(other.result()) == 0.5


def test_a_state_whose_rows_were_not_collected_is_an_error():
    metric = AUC()
    empty = [ops.copy(v.value) for v in metric.variables]
    one = metric.stateless_update_state(empty, [0, 1], [0.1, 0.9])
    assert float(metric.stateless_result(one)) == 1
    two = metric.stateless_update_state(empty, [0, 1], [0.9, 0.1])
    with pytest.raises(RuntimeError, match="counts 2 rows, and 4 were collected.*reset_state"):
        metric.stateless_result(two)


N = 300
X = {
    "categorical": RNG.integers(0, 20, (N, 2)).astype("int32"),
    "history": RNG.integers(0, 30, (N, 4)).astype("int32"),
}
Y = {"click": (RNG.random((N, 1)) < 0.05).astype("float32")}
W = {"click": RNG.integers(0, 3, (N, 1)).astype("float32")}
OPTIONS = [{}, {"steps_per_execution": 4}, {"jit_compile": True}]


def exact(model, name="click"):
    predicted = model.predict(X, batch_size=N, verbose=0)[name]
    return roc_auc_score(Y["click"], predicted, sample_weight=W["click"][:, 0])


class ExactAfterEpochs(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.expected = []

    def on_epoch_end(self, epoch, logs=None):
        self.expected.append(exact(self.model))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_evaluate_and_each_validation_equal_scikit_learn_on_predictions(options):
    model, expected = row_ranker(), ExactAfterEpochs()
    model.compile("adam", **options)
    found = model.evaluate(X, Y, 64, sample_weight=W, verbose=0, return_dict=True)["auc"]
    assert found == pytest.approx(exact(model), abs=1e-6)
    validation = {"validation_data": (X, Y, W), "validation_batch_size": 64}
    history = model.fit(X, Y, 64, 2, 0, [expected], **validation).history
    np.testing.assert_allclose(history["val_auc"], expected.expected, rtol=0, atol=1e-6)


def test_an_ensemble_in_mixed_precision_and_its_clone_are_exact():
    schema = row_ranker().schema
    model = keras_infnet.models.SharedBottom(schema, dim=4, members=2, dtype="mixed_bfloat16")
    model.compile("adam")
    for again in (model, keras.models.clone_model(model)):
        again.compile("adam")
        x = {name: X[name] for name in again.input}
        found = again.evaluate(x, Y, 64, sample_weight=W, verbose=0, return_dict=True)["auc"]
        predicted = again.predict(x, batch_size=64, verbose=0)["click"]
        expected = roc_auc_score(Y["click"], predicted, sample_weight=W["click"][:, 0])
        assert found == pytest.approx(expected, abs=1e-6)


class StopsEarly(keras.callbacks.Callback):
    def on_test_batch_end(self, batch, logs=None):
        self.model.stop_evaluating = batch == 2


def test_each_evaluation_counts_its_own_rows():
    model = row_ranker()
    model.compile("adam")
    options = {"sample_weight": W, "verbose": 0, "return_dict": True}
    cut = model.evaluate(X, Y, 64, callbacks=[StopsEarly()], **options)["auc"]
    predicted = model.predict(X, batch_size=N, verbose=0)["click"][:192]
    first = roc_auc_score(Y["click"][:192], predicted, sample_weight=W["click"][:192, 0])
    assert cut == pytest.approx(first, abs=1e-6)
    assert model.evaluate(X, Y, 64, **options)["auc"] == pytest.approx(exact(model), abs=1e-6)


def model_of_keras(**options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", weighted_metrics=[AUC()], **options)
    return model


def measured_and_exact(model):
    x = X["categorical"].astype("float32") / 20
    model.fit(x, Y["click"], 64, verbose=0)
    (collected,) = (v for v in model.metrics_variables if EVALUATION_ROWS in v.path)
    assert int(ops.convert_to_numpy(collected)) == 0
    found = model.evaluate(x, Y["click"], 64, verbose=0, return_dict=True)["auc"]
    return found, roc_auc_score(Y["click"], model.predict(x, batch_size=N, verbose=0))


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 4}], ids=str)
def test_a_model_of_keras_is_exact(options):
    found, expected = measured_and_exact(model_of_keras(**options))
    assert found == pytest.approx(expected, abs=1e-6)


def test_where_rows_can_not_be_collected_a_warning_says_why(monkeypatch):
    if keras.backend.backend() == "jax":
        monkeypatch.setattr("jax.process_count", lambda: 2)
        model, why = model_of_keras(), "several processes evaluate"
    else:
        model, why = model_of_keras(jit_compile=True), "XLA compiles .*jit_compile=False"
    with pytest.warns(UserWarning, match=f"AUC is not exact here: {why}.*metrics.auc"):
        found, expected = measured_and_exact(model)
    assert found == pytest.approx(expected, abs=0.02)


def test_the_config_makes_the_metric_again():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(AUC()))
    assert isinstance(again, AUC) and again.name == "auc"
